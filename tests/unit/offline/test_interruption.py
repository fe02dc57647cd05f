"""Interruption: a command that is told to end takes the servers it started with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offline.interruption import Interrupted, closing_on_signals

WAITING_DEMO = """
import signal, sys
import offline.__main__ as program
from offline.embedded_redis import embedded_redis

def wait(root, once, short):
    with embedded_redis(root / "redis") as redis:
        print(redis.process.pid, flush=True)
        signal.pause()

program.demonstrate = wait
sys.exit(program.main(["demo", "--root", sys.argv[1]]))
"""


@pytest.mark.usefixtures("hangup_counts")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_server_outlives_the_command(number: signal.Signals, tmp_path: Path) -> None:
    """A demo that is told to end stops its Redis, and ends with 128 plus the signal's number."""
    command = [sys.executable, "-c", WAITING_DEMO, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        server = int(demo.stdout.readline())
        os.kill(server, 0)
        demo.send_signal(number)
        _, said = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert "interrupted; the same command goes on" in said
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


@pytest.mark.usefixtures("hangup_counts")
def test_a_second_signal_does_not_stop_the_closing() -> None:
    """While blocks close, further signals are ignored; afterwards they mean what they meant."""
    before = signal.getsignal(signal.SIGTERM)
    closed: list[str] = []

    @contextmanager
    def server() -> Iterator[None]:
        try:
            yield
        finally:
            signal.raise_signal(signal.SIGTERM)
            closed.append("server")

    with pytest.raises(Interrupted, match="SIGHUP"), closing_on_signals(), server():
        signal.raise_signal(signal.SIGHUP)
    assert closed == ["server"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    """A command under nohup goes on when its terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with closing_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
