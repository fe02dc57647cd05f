"""The stages of groups and priors killed: whatever stands is whole, and the next run goes on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.groups_program import CHUNK_ROWS
from tests.fixtures.tiny_log import N_USERS, write_log

KILLS = 6
HEADER_BYTES = 128
STAGES = ("groups", "priors")


class Grouping:
    """Groups users in processes that can be killed."""

    def __init__(self, process: "subprocess.Popen[str]", mapping: Path) -> None:
        self._process = process
        self._mapping = mapping

    def run(self, root: Path, kill_at: int = 0) -> str:
        """Run to the end, or to a step; what the program says of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{root} {self._mapping} {kill_at}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def grouping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grouping]:
    """The program, its imports done, and a log."""
    folder = tmp_path_factory.mktemp("log")
    write_log(folder)
    command = [sys.executable, "-m", "tests.fixtures.groups_program"]
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        text=True,
        env=os.environ | single,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield Grouping(process, folder / "mapping.toml")
        process.kill()


def finished(root: Path) -> dict[str, bytes]:
    """Every file of the finished groups and priors, by stage and name."""
    folders = [place for stage in STAGES for place in (root / "artefacts" / stage).glob("*")]
    return {
        f"{place.parent.name}/{path.relative_to(place)}": path.read_bytes()
        for place in folders
        if place.is_dir() and place.suffix != ".building"
        for path in place.rglob("*")
        if path.is_file()
    }


def kept_chunks(root: Path) -> int:
    """Whole chunks of users that a killed assignment left."""
    rows = []
    for name, numbers in (("codes", 3), ("residual_norms", 3)):
        (left,) = (root / "artefacts/groups").glob(f"*.building/{name}.npy.*.partial")
        rows.append(max(0, left.stat().st_size - HEADER_BYTES) // (4 * numbers))
    return min(rows) // CHUNK_ROWS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_anywhere_groups_and_priors_are_the_same(grouping: Grouping, tmp_path: Path) -> None:
    """Killed at random steps: nothing half-written is ever seen, and the next run goes on.

    It ends in equal bytes, and users that were assigned are not assigned again.
    """
    start = tmp_path / "start"
    grouping.run(start)
    for stage in STAGES:
        shutil.rmtree(start / "artefacts" / stage)
    shutil.copytree(start, tmp_path / "whole")
    steps, *writes = map(int, grouping.run(tmp_path / "whole").split())
    whole = finished(tmp_path / "whole")
    assert {"groups/codes.npy", "priors/priors.parquet", "priors/depths.npy"} <= whole.keys()
    assert len(writes) == 2 * -(-N_USERS // CHUNK_ROWS)
    draw = np.random.default_rng(3)
    assigning = draw.choice(writes, KILLS, replace=False).tolist()
    anywhere = draw.choice(np.arange(1, steps), KILLS, replace=False).tolist()
    for number, kill_at in enumerate(assigning + anywhere):
        root = tmp_path / str(number)
        shutil.copytree(start, root)
        assert grouping.run(root, kill_at) == "killed"
        assert finished(root).items() <= whole.items(), f"half a file stands after step {kill_at}"
        kept = kept_chunks(root) if kill_at in writes else 0
        _, *rest = grouping.run(root).split()
        assert finished(root) == whole, f"other files after a kill at step {kill_at}"
        assert not list((root / "artefacts").glob("*/*.building"))
        if kill_at in writes:
            assert len(rest) == len(writes) - 2 * kept
