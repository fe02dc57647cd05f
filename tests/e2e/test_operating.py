"""Two replicas of two workers on one desired state, operated as the runbook says."""

import re
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cli import main
from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import Client, service_process, wait_until

pytestmark = pytest.mark.slow

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
REPLICAS = ("a", "b")
WAIT_S = 60.0
ROLLBACK_S = 5.0
"""Far above the second that it takes, for a machine that does other things meanwhile."""


class Pair:
    """Two replicas, each killed and started again as a test likes."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        """Write versions 1 to 3 and a generation; nothing runs yet.

        Args:
            folder: of the repository and of each replica's private store.
            redis: holds records and state.
        """
        self.folder = folder
        self._redis = redis
        self._stacks: dict[str, ExitStack] = {}
        self._processes: dict[str, Any] = {}
        self.clients: dict[str, Client] = {}
        for version in (1, 2, 3):
            write_bundle(make_world(version), folder / "repository" / str(version))
        self.publish()

    def publish(self) -> None:
        """Write the records of generation g1."""
        publish(make_world(1), self._redis.client(), "g1")

    def start(self, name: str) -> None:
        """Start a replica and wait until it is ready."""
        environment: Mapping[str, str] = {
            "CHOIRREC_REPOSITORY": str(self.folder / "repository"),
            "CHOIRREC_STORE": str(self.folder / name),
            "CHOIRREC_REDIS_URL": self._redis.url,
            "CHOIRREC_STATE": self._redis.url,
            "CHOIRREC_MODEL_VERSION": "1",
            "CHOIRREC_WORKERS": "2",
            "CHOIRREC_FETCH_BUDGET_MS": "1000",
            "CHOIRREC_DRAIN_S": "0",
        }
        stack = self._stacks[name] = ExitStack()
        self.clients[name], self._processes[name] = stack.enter_context(
            service_process(environment)
        )

    def kill(self, name: str) -> None:
        """SIGKILL a supervisor."""
        self._processes[name].send_signal(signal.SIGKILL)
        self._stacks.pop(name).close()

    def stop(self) -> None:
        """End whatever runs."""
        for stack in self._stacks.values():
            stack.close()

    def state(self, name: str) -> dict[str, Any]:
        """GET /admin/state of one replica."""
        return dict(httpx.get(f"{self.clients[name].admin_url}/admin/state", timeout=30).json())

    def order(self, name: str, verb: str, **fields: Any) -> httpx.Response:
        """An order to one replica."""
        url = f"{self.clients[name].admin_url}/admin/{verb}"
        return httpx.post(url, json={"who": "a test", "why": "to see", **fields}, timeout=180)

    def all_serve(self, version: int, workers: int = 2) -> bool:
        """Whether every worker of every replica says that it answers by a version."""
        for name in self.clients:
            told = self.state(name)
            champions = [w["champion"] for r in told["replicas"] for w in r["workers"]]
            if champions != [f"{version}/g1"] * (workers * len(self.clients)):
                return False
        return all(self._answers(client, version) for client in self.clients.values())

    @staticmethod
    def _answers(client: Client, version: int) -> bool:
        answers = [client.score("user-1", ["item-1"]) for _ in range(8)]
        return {answer["model_version"] for answer in answers} == {version}


@contextmanager
def _pair(folder: Path, redis: RedisServer) -> Iterator[Pair]:
    pair = Pair(folder, redis)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(pair.start, REPLICAS))
        wait_until(lambda: pair.all_serve(1), WAIT_S)
        yield pair
    finally:
        pair.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def pair(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both replicas, serving version 1."""
    with _pair(tmp_path_factory.mktemp("pair"), redis) as running:
        yield running


def _commands() -> list[list[str]]:
    """The commands of the runbook's section on operating, in order."""
    section = RUNBOOK.read_text().partition("\n## Operating\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def test_runbook_works_as_typed(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of the section on operating does what it says, over both replicas."""
    port = httpx.URL(pair.clients["a"].admin_url).port
    monkeypatch.setenv("CHOIRREC_ADMIN_PORT", str(port))
    commands = _commands()
    assert {command[0] for command in commands} == {
        "promote",
        "canary",
        "shadow",
        "compare",
        "rollback",
        "status",
        "history",
    }
    for command in commands:
        assert main(command) == 0, (command, capsys.readouterr())
    told = capsys.readouterr().out
    assert "every worker follows it" in told
    assert "weekly build" in told.splitlines()[-1] or "no desired state" in told
    wait_until(lambda: pair.all_serve(2), WAIT_S)


def test_rollback_reaches_every_worker_at_once(pair: Pair) -> None:
    """From the order to answers of the old version on both replicas it takes a moment."""
    assert pair.order("b", "promote", version=3).json()["result"] in ("done", "already")
    wait_until(lambda: pair.all_serve(3), WAIT_S)
    begun = time.monotonic()
    outcome = pair.order("a", "rollback").json()
    took_s = time.monotonic() - begun
    assert outcome["result"] == "done", outcome
    assert took_s < ROLLBACK_S, took_s
    assert len(outcome["verdicts"]) == 4
    assert pair.all_serve(2)


def test_damaged_version_reaches_nobody(pair: Pair) -> None:
    """Each worker of both replicas says what is wrong with it, and all serve on."""
    broken = pair.folder / "repository" / "4"
    write_bundle(make_world(4), broken)
    (broken / "model_card.md").write_text("changed")
    reply = pair.order("a", "promote", version=4)
    assert (reply.status_code, reply.json()["code"]) == (409, "not_converged")
    assert "SHA-256 differs" in reply.json()["detail"]
    assert len(reply.json()["verdicts"]) == 4
    assert pair.all_serve(2)
    assert pair.state("b")["roles"]["candidate"] is None


def test_supervisor_killed_in_a_promotion_leaves_one_truth(pair: Pair) -> None:
    """Whenever the one who prepares dies, the same order elsewhere ends it, and all agree."""
    for after_s, version in ((0.0, 1), (0.3, 2), (0.8, 1)):
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(pair.order, "a", "promote", version=version)
            time.sleep(after_s)
            pair.kill("a")
            asked.exception()
        outcome = pair.order("b", "promote", version=version).json()
        assert outcome.get("result") in ("done", "already"), outcome
        pair.start("a")
        wait_until(lambda wanted=version: pair.all_serve(wanted), WAIT_S)  # type: ignore[misc]


def test_state_survives_its_store(pair: Pair, redis: RedisServer) -> None:
    """With Redis dead both serve on and a restart changes nothing; emptied, it gets it all back."""
    before = pair.state("a")["desired"]
    redis.kill()
    for name in REPLICAS:
        assert pair.clients[name].score("user-1", ["item-1"])["model_version"] == 1
    assert pair.order("a", "promote", version=3).status_code in (422, 503)
    pair.kill("b")
    pair.start("b")
    assert "Redis" in pair.state("b")["trouble"]
    assert pair.clients["b"].metric("choirrec_state_trouble") == 1
    assert pair.state("b")["desired"] == before
    assert pair.clients["b"].score("user-1", ["item-1"])["model_version"] == 1
    redis.start()
    pair.publish()
    wait_until(lambda: pair.all_serve(1), WAIT_S)
    assert pair.state("a")["desired"] == before
    assert pair.clients["b"].metric("choirrec_state_trouble") == 0
    assert pair.order("a", "promote", version=3).json()["result"] == "done"
