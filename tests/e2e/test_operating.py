"""Two replicas of two workers on one desired state, operated as the runbook says."""

import fcntl
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

from model.served_log import SERVED
from offline.__main__ import main as offline_main
from service.cli import main
from service.feedback.opening import logged_rows
from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import Client, service_process, wait_until

pytestmark = pytest.mark.slow

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
REPLICAS = ("a", "b")
SENTENCES = {
    "choirrec-serve status": "choirrec-serve status",
    "choirrec-serve replay REQUEST_ID --log FOLDER": "choirrec-serve replay r-1 --log {pair.log}",
    "choirrec-serve promote VERSION --why …": "choirrec-serve promote 3 --why again --yes",
    "choirrec-serve rollback": "choirrec-serve rollback --why back --yes",
    "choirrec-serve promote VERSION --generation NAME --why …": (
        "choirrec-serve promote 2 --generation g3 --why 'the records of then' --yes\n"
        "choirrec-serve promote 3 --why 'no, the other' --yes"
    ),
    "choirrec-serve rollback --why …": "choirrec-serve rollback --why back --yes",
    "choirrec-serve history": "choirrec-serve history",
    "choirrec-serve history --limit 3": "choirrec-serve history --limit 3",
    "choirrec-serve compare": (
        "choirrec-serve shadow 3 --sample 0.5 --why 'to see' --yes\nchoirrec-serve compare"
    ),
    "choirrec-serve shadow --stop --why …": "choirrec-serve shadow --stop --why seen --yes",
    "choirrec-offline generations --redis-url URL --remove NAME": (
        "choirrec-offline generations --redis-url {redis} --remove g9"
    ),
    "choirrec-offline bundle verify VERSION --repository URL": (
        "choirrec-offline bundle verify 2 --repository {pair.repository}"
    ),
    "choirrec-offline bundle diff": (
        "choirrec-offline bundle diff 1 2 --repository {pair.repository}"
    ),
}
"""Commands within the runbook's sentences, and what an operator types who reads them."""
BUILDS = ("choirrec-offline build", "choirrec-offline build … --redis-url URL")
"""Those that need a log of one's own; docs/training.md is about them."""
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
        self.log = folder / "log"
        self.repository = folder / "repository"
        for version in (1, 2, 3):
            write_bundle(make_world(version), self.repository / str(version))
        self.generations: list[str] = []
        self.publish("g1")

    def publish(self, name: str | None = None) -> None:
        """Write a generation's records; None: all that were written before once more."""
        self.generations += [name] if name else []
        for one in [name] if name else self.generations:
            publish(make_world(1), self._redis.client(), one)

    def environment(self, name: str) -> Mapping[str, str]:
        """The settings of a replica."""
        return {
            "CHOIRREC_REPOSITORY": str(self.repository),
            "CHOIRREC_STORE": str(self.folder / name),
            "CHOIRREC_REDIS_URL": self._redis.url,
            "CHOIRREC_STATE": self._redis.url,
            "CHOIRREC_MODEL_VERSION": "1",
            "CHOIRREC_WORKERS": "2",
            "CHOIRREC_FETCH_BUDGET_MS": "1000",
            "CHOIRREC_DRAIN_S": "0",
            "CHOIRREC_LOG": str(self.log),
            "CHOIRREC_LOG_SAMPLE": "1",
            "CHOIRREC_LOG_ROTATE_S": "1",
        }

    def start(self, name: str) -> None:
        """Start a replica and wait until it is ready."""
        stack = self._stacks[name] = ExitStack()
        self.clients[name], self._processes[name] = stack.enter_context(
            service_process(self.environment(name))
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

    def untroubled(self) -> bool:
        """Whether no replica has trouble with the desired state."""
        return all(not c.metric("choirrec_state_trouble") for c in self.clients.values())

    def all_serve(self, version: int, workers: int = 2) -> bool:
        """Whether every worker of every replica says that it answers by a version.

        It must do so with the newest generation.
        """
        for name in self.clients:
            told = self.state(name)
            champions = [w["champion"] for r in told["replicas"] for w in r["workers"]]
            if champions != [f"{version}/{self.generations[-1]}"] * (workers * len(self.clients)):
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


def _typed() -> list[list[str]]:
    """The commands of the runbook's section on operating, in order."""
    section = RUNBOOK.read_text().partition("\n## Operating\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def _spoken() -> set[str]:
    """The commands within the runbook's sentences, with words for what they are given."""
    return set(re.findall(r"`(choirrec-\w+ [^`]+)`", RUNBOOK.read_text()))


@pytest.fixture
def operated(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Both replicas, with the settings of the first one's machine."""
    port = httpx.URL(pair.clients["a"].admin_url).port
    monkeypatch.setenv("CHOIRREC_ADMIN_PORT", str(port))
    for name, value in pair.environment("a").items():
        monkeypatch.setenv(name, value)
    return pair


def test_runbook_works_as_typed(operated: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of the section on operating does what it says, over both replicas."""
    commands = _typed()
    verbs = {"promote", "canary", "shadow", "compare", "rollback", "status", "history"}
    assert {command[0] for command in commands} == verbs
    raised, day = (
        next(n for n, command in enumerate(commands) if words in command)
        for words in ("two hours without a finding", "a day at 20 %")
    )
    reasons = set()
    for place, command in enumerate(commands):
        if place == raised:
            operated.publish("g2")  # as every morning, while the canary runs
        assert main(command) == 0, (command, capsys.readouterr())
        told = capsys.readouterr().out
        desired = operated.state("a")["desired"]
        if ": done, revision" in told:
            reasons.add(command[command.index("--why") + 1])
        if command[0] == "status":
            assert "every worker follows it" in told
        if place == raised:
            canary = {**desired["canary"], "salt": ""}
            target = {"version": 2, "generation": "g1"}
            assert canary == {"target": target, "share": 0.2, "testers": True, "salt": ""}
        if place == day:
            assert desired["champion"] == {"version": 2, "generation": "g1"}
    assert (desired["canary"], desired["shadow"], desired["candidate"]) == (None, None, None)
    assert len(reasons) > 8
    assert [why for why in reasons if why not in told] == []
    wait_until(lambda: operated.all_serve(2), WAIT_S)


def test_what_the_runbook_says_in_sentences_works(
    operated: Pair, redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command within its sentences is one, and does its work on a fleet that needs it."""
    assert _spoken() == {*SENTENCES, *BUILDS}
    operated.publish("g9")
    operated.publish("g3")
    operated.clients["a"].score("user-1", ["item-1"], request_id="r-1")
    wait_until(lambda: bool(logged_rows(operated.log, SERVED, "r-1")), WAIT_S)
    for lines in SENTENCES.values():
        for line in lines.splitlines():
            program, *typed = shlex.split(line.format(redis=redis.url, pair=operated))
            run = main if program == "choirrec-serve" else offline_main
            assert run(typed) == 0, (line, capsys.readouterr())
    with pytest.raises(SystemExit, match="0"):
        offline_main(["build", "--help"])
    assert "--redis-url" in capsys.readouterr().out
    wait_until(lambda: operated.all_serve(2), WAIT_S)


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


def test_rollback_waits_for_nobody_who_loads(pair: Pair) -> None:
    """A bad version goes at once, although another one is being loaded and does not get on."""
    assert pair.order("b", "promote", version=3).json()["result"] == "done"
    with ThreadPoolExecutor(1) as pool:
        with _held(pair.folder / "a" / ".turn-0"):
            promotion = pool.submit(pair.order, "b", "promote", version=1)
            wait_until(lambda: _prepared(pair.state("a")) == 1, WAIT_S)
            begun = time.monotonic()
            outcome = pair.order("b", "rollback").json()
            took_s = time.monotonic() - begun
        assert "no longer the candidate" in promotion.result().json()["detail"]
    assert outcome["result"] == "done", outcome
    assert took_s < ROLLBACK_S, took_s
    assert pair.all_serve(2)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepared(told: dict[str, Any]) -> int | None:
    """The version of the candidate."""
    candidate = told["desired"]["candidate"]
    return None if candidate is None else int(candidate["version"])


def test_damaged_version_reaches_nobody(pair: Pair) -> None:
    """Each worker of both replicas says what is wrong with it, and all serve on."""
    broken = pair.repository / "4"
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
    wait_until(pair.untroubled, WAIT_S)
    assert pair.state("a")["desired"] == before
    assert pair.order("a", "promote", version=3).json()["result"] == "done"
