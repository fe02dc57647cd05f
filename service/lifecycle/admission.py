"""Admission: a bundle is loaded only where its memory fits beside what serves."""

from dataclasses import dataclass
from pathlib import Path

from service.errors import LoadRefused

GRAPH_FACTOR = 6.0
"""Bytes in memory per byte of a graph: its session, its arenas and the bytes themselves."""
OBJECTS_FACTOR = 8.0
"""Bytes in memory per byte of JSON: records and vocabularies as objects."""
FIXED_BYTES = 16 * 2**20
"""Whatever the size: sessions, caches and lookups that fill in the first minutes."""
_PLENTY_BYTES = 1 << 60
"""Limits beyond it mean that there is none."""


@dataclass(frozen=True)
class Available:
    """Memory that may still be taken."""

    size_bytes: int
    source: str
    """What sets the bound, for messages."""


def needed_bytes(folder: Path, workers: int) -> int:
    """What a bundle will take: mapped files once, everything else once per worker.

    Args:
        folder: of the copy.
        workers: processes that load it.
    """
    mapped = private = 0.0
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        size = path.stat().st_size
        if path.suffix == ".npy":
            mapped += size
        elif path.suffix == ".onnx":
            private += GRAPH_FACTOR * size
        elif path.suffix == ".json":
            private += OBJECTS_FACTOR * size
    return int(mapped + workers * (private + FIXED_BYTES))


def available(root: Path = Path("/")) -> Available | None:
    """The tightest bound on memory: the control group's (version 2 or 1) or the machine's.

    Args:
        root: where ``proc`` and ``sys`` stand.

    Returns:
        None where none can be read: not on Linux.
    """
    bounds = [*_machine(root), *_groups(root)]
    return min(bounds, key=lambda bound: bound.size_bytes, default=None)


def admit(folder: Path, workers: int, root: Path = Path("/")) -> None:
    """Refuse a bundle whose memory does not fit.

    Raises:
        LoadRefused: with what it needs, what there is, and how to mend it.
    """
    bound, needed = available(root), needed_bytes(folder, workers)
    if bound is not None and needed > bound.size_bytes:
        raise LoadRefused(
            f"it needs about {_mib(needed)} MiB and {_mib(bound.size_bytes)} MiB are available by "
            f"{bound.source}; give the service more memory, run fewer workers, or let go of a "
            "version that is held (a canary, a candidate)"
        )


def _machine(root: Path) -> list[Available]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return [Available(int(line.split()[1]) * 1024, "the machine (MemAvailable)")]
    return []


def _groups(root: Path) -> list[Available]:
    """The bounds of every control group around this process."""
    found = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        # A container may see its own group as the mount itself, whatever its path says.
        own = mount / path.lstrip("/")
        inside = own if own.is_dir() else mount
        found += [
            _bound(group, *names)
            for group in (inside, *inside.parents)
            if mount in (group, *group.parents)
        ]
    return [bound for bound in found if bound is not None]


def _bound(group: Path, limit_file: str, usage_file: str, prefix: str) -> Available | None:
    limit, usage = _number(group / limit_file), _number(group / usage_file)
    if limit is None or usage is None or limit >= _PLENTY_BYTES:
        return None
    stat = dict(line.split() for line in _lines(group / "memory.stat"))
    # Pages of files that nobody has touched lately are given up for the asking.
    reclaimable = int(stat.get(f"{prefix}inactive_file", 0))
    return Available(max(limit - usage + reclaimable, 0), f"the control group ({limit_file})")


def _number(path: Path) -> int | None:
    """The number in a file; None: no such file, or "max"."""
    text = "".join(_lines(path))
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f}"
