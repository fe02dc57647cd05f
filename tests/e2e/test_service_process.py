"""The service as a process: its commands, its exit codes, and SIGTERM under keep-alive clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.bundles import World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import (
    WAIT_S,
    Client,
    body,
    read_response,
    service_process,
    wait_until,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(home: Path, redis_server: RedisServer, world: World) -> Mapping[str, str]:
    """Variables of a service on the module's Redis, with versions 1 and 2."""
    write_bundle(make_world(2), home / "repository" / "2")
    publish(world, redis_server.client(), "g1")
    return {
        "CHOIRREC_REPOSITORY": str(home / "repository"),
        "CHOIRREC_STORE": str(home / "store"),
        "CHOIRREC_REDIS_URL": redis_server.url,
        "CHOIRREC_MODEL_VERSION": "1",
        "CHOIRREC_FETCH_BUDGET_MS": "1000",
        "CHOIRREC_DRAIN_S": "1",
    }


@pytest.fixture(scope="module")
def process(environment: Mapping[str, str]) -> Iterator[Client]:
    """A process that the module's tests ask."""
    with service_process(environment) as (client, _):
        yield client


def _command(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_load_swaps_a_running_service(process: Client) -> None:
    """One command moves a version in, without a restart, and prints the verdict."""
    done = _command("load", "2", "--generation", "g1", "--admin", process.admin_url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model_version"] == 2
    assert process.score("user-1", ["item-1"])["model_version"] == 2
    assert _command("load", "1", "--admin", process.admin_url).returncode == 0


def test_refused_load_exits_1_with_the_reason(process: Client) -> None:
    """A script notices, and a person reads why."""
    done = _command("load", "77", "--admin", process.admin_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("model version 77") == 1
    assert "model version 77 is not in" in done.stderr


def test_status_tells_what_serves(process: Client) -> None:
    """An operator sees version, generation and state."""
    done = _command("status", "--admin", process.admin_url)
    (model,) = json.loads(done.stdout)["models"]
    assert (model["model_version"], model["generation"], model["state"]) == (1, "g1", "active")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("question", ["status", "--help"])
def test_reader_who_has_left_is_no_error(process: Client, question: str, unbuffered: str) -> None:
    """A pipe into head, which stops reading, shows no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    admin = ["--admin", process.admin_url] if question == "status" else []
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", question, *admin],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "reason"),
    [
        ((), {}, 2, "required"),
        (("load", "none"), {}, 2, "expected a positive integer"),
        (("load", "0"), {}, 2, "expected a positive integer"),
        (("status", "--admin", "ftp://x"), {}, 2, "expected http://host:port"),
        (("status", "--admin", "http://127.0.0.1:1"), {}, 1, "is the service running?"),
        (("run",), {"CHOIRREC_PORT": "x"}, 2, "CHOIRREC_PORT"),
        (("run",), {"CHOIRREC_HOST": "203.0.113.7"}, 1, "cannot listen on 203.0.113.7"),
        (("run",), {"CHOIRREC_REDIS_URL": "http://x"}, 2, "Redis URL"),
    ],
)
def test_wrong_usage_is_told_plainly(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, reason: str
) -> None:
    """Exit codes tell usage from refusal, and no traceback is shown."""
    done = _command(*arguments, environment=environment)
    assert done.returncode == code
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_serving_loads_no_torch_and_no_table_engine() -> None:
    """The serving image needs nothing of the learning half."""
    code = "import sys, service.main, service.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "duckdb", "ibis", "pyarrow", "offline", "onnx"} & set(done.stdout.split())


def test_sigterm_drains_keep_alive_clients_and_exits_0(environment: Mapping[str, str]) -> None:
    """After SIGTERM probes say no, callers are answered and politely sent away, none fails."""
    with service_process(environment) as (client, process):
        asked_to_leave = [threading.Event() for _ in range(4)]
        failures: list[str] = []
        callers = [
            threading.Thread(target=_call_until_sent_away, args=(client, event, failures))
            for event in asked_to_leave
        ]
        for caller in callers:
            caller.start()
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: _ready_status(client) == 503)
        assert client.score("user-1", ["item-1"])["degraded"] == []
        for caller in callers:
            caller.join(WAIT_S)
        assert process.wait(WAIT_S) == 0
    assert failures == []
    assert all(event.is_set() for event in asked_to_leave)


def test_request_under_way_outlives_sigterm(environment: Mapping[str, str]) -> None:
    """A request whose body is still arriving when the drain ends is answered."""
    text = body("user-1", ["item-1"]).encode()
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(text)
    with service_process({**environment, "CHOIRREC_DRAIN_S": "0"}) as (client, process):
        with socket.create_connection(("127.0.0.1", client.port), timeout=WAIT_S) as connection:
            connection.sendall(head + text[:10])
            wait_until(lambda: client.metric("choirrec_in_flight_requests") == 1)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(client.port))
            connection.sendall(text[10:])
            assert read_response(connection).startswith(b"HTTP/1.1 200")
        assert process.wait(WAIT_S) == 0


def test_interrupt_ends_at_once_with_0(environment: Mapping[str, str]) -> None:
    """Ctrl-C in a terminal does not wait for a drain."""
    with service_process({**environment, "CHOIRREC_DRAIN_S": "600"}) as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0


def _call_until_sent_away(client: Client, sent_away: threading.Event, failures: list[str]) -> None:
    """Call over one kept-alive connection until the service asks for another."""
    with httpx.Client(base_url=client.scoring_url, timeout=WAIT_S) as http:
        while not sent_away.is_set():
            try:
                reply: Any = http.post("/score", content=body())
            except httpx.TransportError as error:
                failures.append(repr(error))
                return
            if reply.status_code != 200:
                failures.append(reply.text)
            if reply.headers.get("connection") == "close":
                sent_away.set()


def _ready_status(client: Client) -> int:
    return httpx.get(f"{client.scoring_url}/health/ready", timeout=WAIT_S).status_code


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S).close()
    except ConnectionRefusedError:
        return True
    return False
