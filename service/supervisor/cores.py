"""The cores that this container may use, by its affinity and its cgroup's quota."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """Whole cores for this process, at least 1; a quota of 1.5 cores counts as 1.

    Args:
        mount: where control groups are mounted, version 1 or 2.
        membership: the file that says in which group this process is.
    """
    quotas = [quota for folder in _folders(mount, membership) if (quota := _quota(folder))]
    return max(1, int(min([_allowed(), *quotas])))


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(mount: Path, membership: Path) -> Iterator[Path]:
    """The group's folder and all above it, whose quotas bind as well."""
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = mount / "cpu" if controllers else mount
        group = PurePosixPath(path.lstrip("/"))
        # A container may see its own group as the top, while the file names the host's path.
        yield from (top / part for part in (group, *group.parents))


def _quota(folder: Path) -> float | None:
    """Cores by ``cpu.max`` (version 2) or ``cpu.cfs_*`` (version 1); None: no limit."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _cores(quota, period) or _cores(
        _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    )


def _cores(quota: str, period: str) -> float | None:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
