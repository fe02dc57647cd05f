"""The service as processes: its commands, its exit codes, its ends and its restarts."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
ANY_PORTS = {"CHOIRREC_PORT": "0", "CHOIRREC_ADMIN_PORT": "0"}
TWO = {"CHOIRREC_WORKERS": "2"}
CALLERS = 4
TLS = "rediss://localhost:6379"
URL = "CHOIRREC_REDIS_URL: option"
STATE = "CHOIRREC_STATE: option"


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


def test_operators_words_swap_a_running_service(process: Client) -> None:
    """One command moves a version in without a restart, another goes back, each with a reason."""
    manner = ("--why", "to see", "--yes", "--admin", process.admin_url)
    done = _command("promote", "2", "--generation", "g1", *manner, "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["result"], outcome["after"]["champion"]) == ("done", "2/g1")
    assert process.score("user-1", ["item-1"])["model_version"] == 2
    assert _command("rollback", *manner).returncode == 0
    assert process.score("user-1", ["item-1"])["model_version"] == 1
    told = _command("history", "--admin", process.admin_url).stdout
    actions = [line for line in told.splitlines() if "to see" in line]
    assert [line.split()[4] for line in actions] == ["rollback", "activate", "promote"]


def test_refused_promotion_exits_1_with_the_reason(process: Client) -> None:
    """A script notices, and a person reads why."""
    done = _command("promote", "77", "--why", "a", "--yes", "--admin", process.admin_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("model version 77") == 1
    assert "model version 77 is not in" in done.stderr


def test_status_tells_what_serves(process: Client) -> None:
    """An operator sees version, generation and state, and whether every worker follows."""
    done = _command("status", "--admin", process.admin_url)
    assert "champion  1/g1\n" in done.stdout
    assert "every worker follows it" in done.stdout
    assert "1/g1 active" in done.stdout


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
        (("promote", "none"), {}, 2, "expected a positive integer"),
        (("promote", "0"), {}, 2, "expected a positive integer"),
        (("status", "--admin", "ftp://x"), {}, 2, "expected http://host:port"),
        (("status", "--admin", "http://127.0.0.1:1"), {}, 1, "is the service running?"),
        (("run",), {"CHOIRREC_PORT": "x"}, 2, "CHOIRREC_PORT"),
        (("run",), {"CHOIRREC_HOST": "203.0.113.7"}, 1, "cannot listen on 203.0.113.7"),
        (("run",), {"CHOIRREC_WORKERS": "0"}, 2, "CHOIRREC_WORKERS"),
        (("run",), {"CHOIRREC_REDIS_URL": "http://x"}, 2, "CHOIRREC_REDIS_URL: Redis URL"),
        (("run",), {"CHOIRREC_REDIS_URL": f"{TLS}?max_connections=10"}, 2, f"{URL} 'max_conn"),
        (("run",), {"CHOIRREC_REDIS_URL": f"{TLS}?timeout=3"}, 2, f"{URL} 'timeout'"),
        (("run",), {"CHOIRREC_REDIS_URL": f"{TLS}?ssl_cert_reqs=x"}, 2, "URL: ssl_cert_reqs='x'"),
        (("run",), {"CHOIRREC_STATE": "http://x"}, 2, "CHOIRREC_STATE"),
        (("run",), {"CHOIRREC_STATE": f"{TLS}?timeout=3"}, 2, f"{STATE} 'timeout'"),
        (("run",), {"CHOIRREC_STATE": f"{TLS}?ssl_cert_reqs=x"}, 2, "STATE: ssl_cert_reqs='x'"),
        (("run",), {"CHOIRREC_API_KEY_FILE": "/none"}, 2, "key file /none"),
    ],
)
def test_wrong_usage_is_told_plainly(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, reason: str
) -> None:
    """Exit codes tell usage from refusal, and no traceback is shown."""
    done = _command(*arguments, environment=ANY_PORTS | environment)
    assert done.returncode == code
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("worker", {"torch", "duckdb", "ibis", "pyarrow", "offline", "onnx"}),
        ("cli", {"torch", "pyarrow", "offline", "onnx", "onnxruntime", "wordllama", "tokenizers"}),
    ],
)
def test_processes_load_only_what_they_need(module: str, absent: set[str]) -> None:
    """Serving needs nothing of the learning half, and the supervisor nothing that scores."""
    code = f"import sys, service.{module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not absent & set(done.stdout.split())


def test_sigterm_drains_keep_alive_clients_and_exits_0(environment: Mapping[str, str]) -> None:
    """After SIGTERM probes say no, callers are answered and politely sent away, none fails."""
    with service_process({**environment, **TWO}) as (client, process):
        asked_to_leave = [threading.Event() for _ in range(6)]
        failures: list[str] = []
        callers = [
            threading.Thread(target=_call_until_sent_away, args=(client, event, failures))
            for event in asked_to_leave
        ]
        for caller in callers:
            caller.start()
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: _ready_status(client.admin_url) == 503)
        wait_until(lambda: _ready_status(client.scoring_url) == 503)
        assert client.score("user-1", ["item-1"])["degraded"] == []
        for caller in callers:
            caller.join(WAIT_S)
        assert process.wait(WAIT_S) == 0
    assert failures == []
    assert all(event.is_set() for event in asked_to_leave)


def test_callers_are_answered_or_refused_at_the_end_but_never_reset(
    environment: Mapping[str, str],
) -> None:
    """Whoever gets a connection gets an answer, up to the last moment of the service."""
    with (
        service_process({**environment, **TWO, "CHOIRREC_DRAIN_S": "0.5"}) as (client, process),
        _calling(client) as outcomes,
    ):
        wait_until(lambda: len(outcomes) > 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert set(outcomes) <= {"200", "ConnectError"}


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


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_impatient_end_does_not_wait_for_a_drain(
    environment: Mapping[str, str], signals: list[signal.Signals]
) -> None:
    """Ctrl-C in a terminal, or a second SIGTERM, ends the service at once, with 0."""
    with service_process({**environment, **TWO, "CHOIRREC_DRAIN_S": "600"}) as (client, process):
        for number in signals:
            process.send_signal(number)
            wait_until(lambda: _ready_status(client.admin_url) != 200)
        assert process.wait(WAIT_S) == 0
        assert _refuses(client.port)


def test_killed_worker_is_replaced_while_the_other_answers(environment: Mapping[str, str]) -> None:
    """Kill -9 costs at most what that worker had accepted; its successor serves the same pair."""
    with service_process({**environment, **TWO}) as (client, _), _calling(client) as outcomes:
        wait_until(lambda: len(outcomes) > 50)
        before = client.workers()
        os.kill(before[0]["pid"], signal.SIGKILL)
        wait_until(lambda: _is_whole_without(client, before[0]["pid"]))
        after = client.workers()
        assert [worker["revision"] for worker in after] == [w["revision"] for w in before]
        assert [worker["champion"] for worker in after] == ["1/g1", "1/g1"]
        assert after[1]["pid"] == before[1]["pid"]
        assert client.metric('choirrec_worker_ends_total{reason="signal"}') == 1
        answered = len(outcomes)
        wait_until(lambda: len(outcomes) > answered + 50)
    # What the dead worker had accepted is lost, one request of each caller at most. Nobody gets
    # an answer that is wrong, nor one of a worker that is not ready yet.
    assert set(outcomes) <= {"200", "ReadError", "RemoteProtocolError", "ConnectError"}
    assert sum(outcome != "200" for outcome in outcomes) <= CALLERS


def test_worker_told_to_end_fails_nobody(environment: Mapping[str, str]) -> None:
    """SIGTERM to one worker sends its callers to the other, and a new one takes its place."""
    with service_process({**environment, **TWO}) as (client, _), _calling(client) as outcomes:
        wait_until(lambda: len(outcomes) > 50)
        pid = client.workers()[0]["pid"]
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: _is_whole_without(client, pid))
        answered = len(outcomes)
        wait_until(lambda: len(outcomes) > answered + 50)
    assert set(outcomes) == {"200"}


def test_killed_supervisor_takes_its_workers_along(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    """After kill -9 of the supervisor the next one serves on the same port what was desired."""
    environment = {**environment, **TWO, "CHOIRREC_STATE": str(tmp_path / "state")}
    with service_process(environment) as (client, process):
        manner = ("--why", "to see", "--yes", "--admin", client.admin_url)
        assert _command("promote", "2", "--generation", "g1", *manner).returncode == 0
        pids = [worker["pid"] for worker in client.workers()]
        process.kill()
        again = {**environment, "CHOIRREC_PORT": str(client.port)}
        with service_process(again) as (second, _):
            assert second.port == client.port
            assert second.score("user-1", ["item-1"])["model_version"] == 2
            wait_until(lambda: not any(_runs(pid) for pid in pids))


def test_second_service_on_the_same_port_is_refused(process: Client) -> None:
    """Sharing the port among workers does not let a stranger in."""
    done = _command("run", environment={"CHOIRREC_PORT": str(process.port)})
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{process.port}" in done.stderr


def test_metrics_are_summed_over_workers(environment: Mapping[str, str]) -> None:
    """Every call is counted once, by the worker that answered it; the scoring port tells none."""
    with service_process({**environment, **TWO}) as (client, _):
        for _ in range(20):
            with httpx.Client(base_url=client.scoring_url, timeout=WAIT_S) as http:
                assert http.post("/score", content=body()).status_code == 200
        assert client.metric('choirrec_requests_total{code="200",route="score"}') == 20
        assert client.metric("choirrec_workers_ready") == 2
        lines = client.metrics().splitlines()
        gauges = [line for line in lines if line.startswith("choirrec_in_flight_requests{")]
        assert gauges == [f'choirrec_in_flight_requests{{worker="{n}"}} 0.0' for n in (0, 1)]
        assert client.http.get("/metrics").status_code == 404


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


@contextmanager
def _calling(client: Client) -> Iterator[list[str]]:
    """Callers that open a connection for every request; what became of each request."""
    outcomes: list[str] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            try:
                with httpx.Client(base_url=client.scoring_url, timeout=WAIT_S) as http:
                    outcomes.append(str(http.post("/score", content=body()).status_code))
            except httpx.TransportError as error:
                outcomes.append(type(error).__name__)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield outcomes
    finally:
        done.set()
        for caller in callers:
            caller.join(WAIT_S)


def _is_whole_without(client: Client, pid: int) -> bool:
    """Whether two workers are ready, and this process is none of them."""
    workers = client.workers()
    gone = all(worker["pid"] != pid for worker in workers)
    return gone and [worker["ready"] for worker in workers] == [True, True]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _ready_status(url: str) -> int:
    try:
        return httpx.get(f"{url}/health/ready", timeout=WAIT_S).status_code
    except httpx.TransportError:
        return 0


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S).close()
    except ConnectionRefusedError:
        return True
    return False
