"""As many workers as the container has cores, not as the machine has."""

import os
from pathlib import Path

import pytest

from service.supervisor.cores import usable_cores

GROUP = "kubepods/pod7/service"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 8 cores, all of them allowed."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def _member(folder: Path, line: str) -> Path:
    path = folder / "membership"
    path.write_text(f"{line}\n")
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1)],
)
def test_quota_of_version_2_counts(tmp_path: Path, quota: str, cores: int) -> None:
    """A limit of 3.5 cores is three workers, of half a core one."""
    _write(tmp_path / "cpu.max", quota)
    assert usable_cores(tmp_path, _member(tmp_path, "0::/")) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("400000", 4)])
def test_quota_of_version_1_counts(tmp_path: Path, quota: str, cores: int) -> None:
    """Older machines limit by other files."""
    _write(tmp_path / "cpu" / GROUP / "cpu.cfs_quota_us", quota)
    _write(tmp_path / "cpu" / GROUP / "cpu.cfs_period_us", "100000")
    member = _member(tmp_path, f"4:cpu,cpuacct:/{GROUP}\n3:memory:/elsewhere")
    assert usable_cores(tmp_path, member) == cores


def test_narrowest_group_above_counts(tmp_path: Path) -> None:
    """A pod's limit binds the container inside it."""
    _write(tmp_path / GROUP / "cpu.max", "max 100000")
    _write(tmp_path / "kubepods/pod7/cpu.max", "300000 100000")
    assert usable_cores(tmp_path, _member(tmp_path, f"0::/{GROUP}")) == 3


def test_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    """The file may name a path of the host that is not mounted here."""
    _write(tmp_path / "cpu.max", "200000 100000")
    assert usable_cores(tmp_path, _member(tmp_path, "0::/docker/0123abcd")) == 2


def test_affinity_counts_and_nothing_else_means_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taskset is obeyed; without control groups, every core is usable."""
    assert usable_cores(tmp_path, tmp_path / "absent") == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert usable_cores(tmp_path, tmp_path / "absent") == 1
