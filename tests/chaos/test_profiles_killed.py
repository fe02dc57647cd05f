"""The profile stage killed: what was paid for is never asked for again."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.llm_server import LlmServer, running_llm_server
from tests.fixtures.profile_program import USERS
from tests.fixtures.writers import PLAN, all_runs

KILLS = 20
PAUSE_S = 0.01


class Stage:
    """Runs the stage in processes that can be killed."""

    def __init__(self, process: "subprocess.Popen[str]", server: LlmServer) -> None:
        self._process = process
        self._server = server

    def run(self, folder: Path, kill_after_calls: int | None = None) -> None:
        """Run it to its end, or kill it once the server has seen so many requests more."""
        assert self._process.stdin is not None
        seen = len(self._server.calls())
        self._process.stdin.write(f"{folder} {self._server.base_url}\n")
        self._process.stdin.flush()
        fork = int(self._line())
        if kill_after_calls is not None:
            while len(self._server.calls()) < seen + kill_after_calls:
                assert self._process.poll() is None
            os.kill(fork, signal.SIGKILL)
        assert self._line() == "ended"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def server() -> Iterator[LlmServer]:
    """A server that takes a moment for every answer."""
    with running_llm_server() as running:
        yield running


@pytest.fixture(scope="module")
def stage(server: LlmServer) -> Iterator[Stage]:
    """The program, its imports done."""
    command = [sys.executable, "-m", "tests.fixtures.profile_program"]
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        text=True,
        env=os.environ | single,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield Stage(process, server)
        process.kill()


def table(folder: Path) -> bytes | None:
    """The finished table of a folder, if there is one."""
    found = [path for path in folder.glob("artefacts/profiles/*/profiles.parquet")
             if path.parent.suffix != ".building"]  # fmt: skip
    return found[0].read_bytes() if found else None


def slow_down(server: LlmServer) -> None:
    """Give every user's answer a pause, so that a kill finds requests under way."""
    server.plan(**{f"u{number}": [f"pause {PAUSE_S}"] * 9 for number in range(USERS)})


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_twenty_kills_lose_nothing(stage: Stage, server: LlmServer, tmp_path: Path) -> None:
    """Killed anywhere and run again, the table is the same to the byte and repeats one batch."""
    slow_down(server)
    stage.run(tmp_path / "whole")
    whole = table(tmp_path / "whole")
    assert whole is not None
    draw = np.random.default_rng(7)
    for number in range(KILLS):
        slow_down(server)
        folder = tmp_path / str(number)
        stage.run(folder, kill_after_calls=int(draw.integers(0, USERS, endpoint=True)))
        assert table(folder) is None
        stage.run(folder)
        assert table(folder) == whole
        asked = Counter(call["facts"] for call in server.calls())
        assert len(asked) == USERS
        assert sum(asked.values()) - USERS <= PLAN.concurrency
        (cache,) = (folder / "cache").iterdir()
        assert all_runs(cache).outcomes["written"] >= USERS


@pytest.mark.slow
def test_one_run_killed_again_and_again(stage: Stage, server: LlmServer, tmp_path: Path) -> None:
    """A run that is killed five times gets on each time, whatever torn lines the kills left."""
    slow_down(server)
    for _ in range(5):
        stage.run(tmp_path, kill_after_calls=8)
        for shard in tmp_path.glob("cache/*/answers-*.log"):
            with shard.open("ab") as file:
                file.write(b"0badc0de {torn")
    stage.run(tmp_path)
    asked = Counter(call["facts"] for call in server.calls())
    assert table(tmp_path) is not None
    assert len(asked) == USERS
    assert sum(asked.values()) - USERS <= 5 * PLAN.concurrency
