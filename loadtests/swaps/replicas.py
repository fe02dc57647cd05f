"""Replicas of the service as processes of their own, each with its workers, orders and memory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]
SERVICE = ("service.cli", "run")
"""The module that is started, and its arguments."""
HOST = "127.0.0.1"
REPLICAS = 2
WORKERS = 2
START_S = 120.0
ORDER_S = 180.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class OrderFailed(RuntimeError):
    """An order that was refused; its text is the service's answer."""


class Replica:
    """One supervisor and its workers."""

    def __init__(self, name: str, port: int, admin_port: int) -> None:
        """Name a replica that runs.

        Args:
            name: for orders, in the audit log.
            port: where it answers.
            admin_port: where it takes orders.
        """
        self.name = name
        self.port = port
        self._suffix = f":{admin_port}"
        self._admin_url = f"http://{HOST}:{admin_port}/admin"

    def order(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Give an order and wait for its outcome; blocks.

        Args:
            verb: the route below ``/admin``.
            fields: of the order's body.

        Raises:
            OrderFailed: when it is refused or not carried out.
        """
        body = json.dumps({"who": f"the bench, by {self.name}", "why": "a measurement", **fields})
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._admin_url}/{verb}", body.encode(), headers)  # noqa: S310
        try:
            with urlopen(request, timeout=ORDER_S) as reply:  # noqa: S310
                return dict(json.load(reply))
        except HTTPError as error:
            text = error.read().decode(errors="replace")
            raise OrderFailed(f"{verb} {fields}: {error.code} {text}") from error

    def state(self) -> dict[str, Any]:
        """What it says of all replicas; blocks."""
        with urlopen(f"{self._admin_url}/state", timeout=ORDER_S) as reply:  # noqa: S310
            return dict(json.load(reply))

    def workers(self) -> list[int]:
        """The process ids of its own workers, by number."""
        return [worker["pid"] for worker in self._workers()]

    def ready(self) -> bool:
        """Whether all of its workers are."""
        try:
            ready = [worker["ready"] for worker in self._workers()]
        except (URLError, OSError, KeyError):
            return False
        return len(ready) == WORKERS and all(ready)

    def _workers(self) -> list[dict[str, Any]]:
        replicas = self.state()["replicas"]
        own = [replica for replica in replicas if replica["replica"].endswith(self._suffix)]
        return [worker for replica in own for worker in replica["workers"]]


def resident_bytes(pids: Sequence[int]) -> int:
    """Resident memory of processes, mapped files included.

    Args:
        pids: of processes that run.
    """
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * _PAGE_BYTES


@contextmanager
def replicas(
    environment: Mapping[str, str], folder: Path, program: Sequence[str] = SERVICE
) -> Iterator[list[Replica]]:
    """Both replicas, ready, killed with the block.

    Args:
        environment: ``CHOIRREC_*`` variables that they share.
        folder: of private stores and logs.
        program: the module to start and its arguments.
    """
    with ExitStack() as stack:
        started = [
            stack.enter_context(_process(f"replica-{number}", environment, folder, program))
            for number in range(REPLICAS)
        ]
        for replica, process, log in started:
            _await_ready(replica, process, log)
        yield [replica for replica, _, _ in started]


@contextmanager
def _process(
    name: str, environment: Mapping[str, str], folder: Path, program: Sequence[str]
) -> Iterator[tuple[Replica, "subprocess.Popen[bytes]", Path]]:
    port, admin_port = _free_port(), _free_port()
    settings = {
        "CHOIRREC_PORT": str(port),
        "CHOIRREC_ADMIN_PORT": str(admin_port),
        "CHOIRREC_WORKERS": str(WORKERS),
        # As replicas on one machine should: one copy of each bundle, one load at a time.
        "CHOIRREC_STORE": str(folder / "store"),
        "CHOIRREC_KEEP_ALIVE_S": "3600",
        "CHOIRREC_DRAIN_S": "0",
        **environment,
    }
    log = folder / f"{name}.log"
    with log.open("ab") as said:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *program],
            env={**os.environ, **settings},
            stdout=said,
            stderr=said,
            cwd=ROOT,
        )
    try:
        yield Replica(name, port, admin_port), process, log
    finally:
        # Its workers notice the end of their channels and end, too.
        process.send_signal(signal.SIGKILL)
        process.wait()


def _await_ready(replica: Replica, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not replica.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{replica.name} does not begin; its log:\n{log.read_text()}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
