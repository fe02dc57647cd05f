"""Admission: memory as control groups and the machine tell it."""

from pathlib import Path

import pytest

from service.errors import LoadRefused
from service.lifecycle.admission import admit, available, needed_bytes

MIB = 2**20
GIB = 2**30


def _machine(root: Path, free_bytes: int = 8 * GIB) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {free_bytes // 1024} kB\n")
    return root


def _v2(root: Path, path: str, limit: str, usage: int, inactive: int) -> None:
    (root / "proc/self/cgroup").write_text(f"0::{path}\n")
    group = root / "sys/fs/cgroup" / path.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{usage}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\n")


def _v1(root: Path, path: str, limit: int, usage: int, inactive: int) -> None:
    (root / "proc/self/cgroup").write_text(f"5:cpu,cpuacct:/\n4:memory:{path}\n0::/\n")
    group = root / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{usage}\n")
    (group / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {inactive}\n")


def test_limit_of_a_version_2_group_counts_what_can_be_reclaimed(tmp_path: Path) -> None:
    """Pages of files that nobody needs do not stand in the way of a load."""
    _v2(_machine(tmp_path), "/", str(GIB), 900 * MIB, 300 * MIB)
    bound = available(tmp_path)
    assert bound is not None
    assert bound.size_bytes == 424 * MIB
    assert "memory.max" in bound.source


def test_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    """A pod's limit binds although the container's own is wide."""
    _v2(_machine(tmp_path), "/pod/container", "max", 1, 0)
    _v2(tmp_path, "/pod", str(GIB), GIB - 5 * MIB, 0)
    (tmp_path / "proc/self/cgroup").write_text("0::/pod/container\n")
    bound = available(tmp_path)
    assert bound is not None
    assert bound.size_bytes == 5 * MIB


def test_limit_of_a_version_1_group_is_read_inside_a_container(tmp_path: Path) -> None:
    """There the group's path leads nowhere, and the mount is the group."""
    _v1(_machine(tmp_path), "/docker/abc", 2 * GIB, 2 * GIB - MIB, 0)
    bound = available(tmp_path)
    assert bound is not None
    assert bound.size_bytes == MIB
    assert "memory.limit_in_bytes" in bound.source


def test_without_a_limit_the_machine_binds(tmp_path: Path) -> None:
    """A limit of about 2^63 means that there is none."""
    _v1(_machine(tmp_path, 3 * GIB), "/", 9_223_372_036_854_771_712, GIB, 0)
    bound = available(tmp_path)
    assert bound is not None
    assert bound.size_bytes == 3 * GIB
    assert "MemAvailable" in bound.source


def test_machine_that_tells_nothing_admits(tmp_path: Path) -> None:
    """Where no bound can be read, none is made up."""
    assert available(tmp_path) is None
    admit(tmp_path, 4, tmp_path)


def test_bundle_that_does_not_fit_is_refused_with_both_numbers(tmp_path: Path) -> None:
    """An operator reads what it needs, what there is, what sets the bound, and how to mend it."""
    _v2(_machine(tmp_path / "root"), "/", str(GIB), GIB - 10 * MIB, 0)
    folder = tmp_path / "bundle"
    folder.mkdir()
    with (folder / "user.npy").open("wb") as table:
        table.truncate(100 * MIB)
    with pytest.raises(LoadRefused) as refusal:
        admit(folder, 1, tmp_path / "root")
    needed = needed_bytes(folder, 1) // MIB
    for words in (f"about {needed} MiB", "10 MiB are available", "memory.max", "more memory"):
        assert words in refusal.value.detail


def test_tables_count_once_and_graphs_once_per_worker(tmp_path: Path) -> None:
    """Workers share what is mapped, and nothing else."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/user.npy").write_bytes(bytes(MIB))
    (tmp_path / "graph.onnx").write_bytes(bytes(1000))
    one, three = needed_bytes(tmp_path, 1), needed_bytes(tmp_path, 3)
    assert 3 * (one - MIB) == three - MIB
