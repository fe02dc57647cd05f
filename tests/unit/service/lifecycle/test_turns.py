"""Turns: processes that load beside what serves do so one after the other."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.lifecycle.turns import CORES_PER_TURN, Turns

HOLD = """
import sys
from pathlib import Path
from service.lifecycle.turns import Turns
with Turns(Path(sys.argv[1]), 1).turn(lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def _patiently() -> None:
    pass


@contextmanager
def _held_by_another_process(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def _waiting(folder: Path, cores: int = 1) -> tuple[threading.Thread, threading.Event]:
    begun = threading.Event()

    def load() -> None:
        with Turns(folder, cores).turn(_patiently):
            begun.set()

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    return thread, begun


def test_one_loads_while_the_others_wait(tmp_path: Path) -> None:
    """A swap slows one worker at a time, not all of them."""
    with Turns(tmp_path, 2).turn(_patiently):
        thread, begun = _waiting(tmp_path)
        assert not begun.wait(0.1)
    thread.join(10)
    assert begun.is_set()


def test_killed_process_gives_its_turn_away(tmp_path: Path) -> None:
    """Nobody waits for a worker that died within a load."""
    with _held_by_another_process(tmp_path) as process:
        thread, begun = _waiting(tmp_path)
        assert not begun.wait(0.1)
        process.kill()
        thread.join(10)
    assert begun.is_set()


@pytest.mark.parametrize(("cores", "turns"), [(1, 1), (2, 1), (CORES_PER_TURN * 2, 2)])
def test_more_cores_have_more_turns(tmp_path: Path, cores: int, turns: int) -> None:
    """A large machine does not wait for its workers one by one."""
    with ExitStack() as stack:
        for _ in range(turns):
            stack.enter_context(Turns(tmp_path, cores).turn(_patiently))
        _, begun = _waiting(tmp_path, cores)
        assert not begun.wait(0.1)


def test_whoever_is_not_wanted_any_more_stops_waiting(tmp_path: Path) -> None:
    """A load that was given up does not keep the next one from its place."""

    class GivenUpError(Exception):
        pass

    def give_up() -> None:
        raise GivenUpError

    holder, other = Turns(tmp_path, 1), Turns(tmp_path, 1)
    with holder.turn(_patiently), pytest.raises(GivenUpError), other.turn(give_up):
        pass
