"""A service of our own on this machine: a real process, started and stopped with a block."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
PORT, ADMIN_PORT = 8080, 9100
_POLL_S = 0.1


class ServiceFailed(RuntimeError):
    """The service did not become ready, or refused a request; its own words are in the log."""


@dataclass(frozen=True)
class LocalService:
    """A ready service."""

    port: int
    admin_port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where models are loaded."""
        return f"http://127.0.0.1:{self.admin_port}"

    def score(self, call: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask ``POST /score``.

        Args:
            call: the request's JSON.

        Returns:
            The answer's JSON.

        Raises:
            ServiceFailed: when the answer is not 200.
        """
        status, body = _ask(self.port, "POST", "/score", json.dumps(call).encode())
        if status != http.client.OK:
            raise ServiceFailed(f"POST /score answered {status}: {body.decode(errors='replace')}")
        answer: Mapping[str, Any] = json.loads(body)
        return answer

    def ready(self) -> bool:
        """Whether it says, for all its workers, that it is ready."""
        try:
            reply = _ask(self.admin_port, "GET", "/health/ready", None)
            return reply[0] == http.client.OK
        except OSError:
            return False


@contextmanager
def local_service(settings: Mapping[str, str], log: Path) -> Iterator[LocalService]:
    """Run ``choirrec-serve run`` until the block ends.

    Args:
        settings: CHOIRREC_ variables without the prefix; ports are chosen here: 8080 and 9100,
            or free ones where those are taken.
        log: where its output goes.

    Yields:
        The service, ready.

    Raises:
        ServiceFailed: when it ends or stays unready.
    """
    service = LocalService(_free(PORT), _free(ADMIN_PORT))
    ports = {"PORT": str(service.port), "ADMIN_PORT": str(service.admin_port)}
    variables = {f"CHOIRREC_{name}": value for name, value in {**settings, **ports}.items()}
    with log.open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "run"],
            env={**os.environ, **variables},
            stdout=words,
            stderr=words,
        )
    try:
        _wait_until_ready(process, service, log)
        yield service
    finally:
        _stop(process)


def _ask(port: int, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free(preferred: int) -> int:
    """The preferred port, or any free one when somebody has it."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServiceFailed("no port is free on 127.0.0.1")


def _wait_until_ready(process: "subprocess.Popen[bytes]", service: LocalService, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        if service.ready():
            return
        time.sleep(_POLL_S)
    tail = "\n".join(log.read_text().splitlines()[-15:])
    raise ServiceFailed(f"the service is not ready; its log ({log}) ends with:\n{tail}")
