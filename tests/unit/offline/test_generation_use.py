"""Use of generations: whatever the desired state names or a live replica holds is in use."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from model.desired import DESIRED_KEY, REPLICAS_KEY, Canary, Change, Desired, Shadow, Target
from offline.embedded_redis import EmbeddedRedis, embedded_redis
from offline.generation_use import UnknownUse, generations_in_use
from offline.redis_client import RedisFailed
from service.control.file_state import FileState
from service.control.redis_state import RedisState
from service.control.state_store import StateStore
from service.lifecycle.states import ReplicaState, State, TargetState, WorkerState

CHANGE = Change(action="promote", who="me", why="test", when_s=1.0)
DESIRED = Desired(1, Target(3, "today"), CHANGE, "salt", previous=Target(2, "yesterday"))
FULL = replace(
    DESIRED,
    candidate=Target(3, "tomorrow"),
    canary=Canary(Target(4, "today"), 0.1),
    shadow=Shadow(Target(5, "another"), 0.1),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One real Redis for the module."""
    with embedded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["redis", "folder"])
def state(request: pytest.FixtureRequest, server: EmbeddedRedis, tmp_path: Path) -> str:
    """Where an empty desired state stands: in a Redis, or in a folder."""
    if request.param == "folder":
        return str(tmp_path / "state")
    redis.Redis.from_url(server.url).flushall()
    return server.url


async def write(state: str, call: Callable[[StateStore], Awaitable[object]]) -> None:
    """Write as the service does, by its own store."""
    store = RedisState(state) if "://" in state else FileState(Path(state))
    await call(store)
    await store.close()


def report(*held: tuple[str, State]) -> ReplicaState:
    """What a replica of one worker says of its targets."""
    targets = tuple(
        TargetState(version=1, generation=generation, state=state) for generation, state in held
    )
    worker = WorkerState(worker=0, pid=1, revision=1, ready=True, targets=targets)
    return ReplicaState(replica="a", host="h", when_s=time.time(), revision=1, workers=(worker,))


def test_nothing_is_in_use_where_nothing_is_served(state: str) -> None:
    """Without a desired state, retention goes by age alone."""
    assert generations_in_use(state) == {}


def test_every_named_generation_is_in_use(state: str) -> None:
    """Champion, previous, candidate, canary and shadow keep theirs, each told by its role."""
    asyncio.run(write(state, lambda store: store.change(0, FULL)))
    assert generations_in_use(state) == {
        "today": "champion of revision 1, canary of revision 1",
        "another": "shadow of revision 1",
        "tomorrow": "candidate of revision 1",
        "yesterday": "previous of revision 1",
    }


def test_what_a_live_replica_holds_is_in_use(state: str) -> None:
    """A replica that still drains an old generation keeps it; what it failed to load is free."""
    told = report(("old", "draining"), ("today", "active"), ("bad", "failed"))
    asyncio.run(write(state, lambda store: store.report(told, 60)))
    assert set(generations_in_use(state)) == {"old", "today"}
    assert generations_in_use(state)["old"] == "held by replica a"


def test_replicas_that_are_gone_hold_nothing(state: str) -> None:
    """A report that has expired keeps nothing for ever."""
    told = report(("old", "active"))
    asyncio.run(write(state, lambda store: store.report(told, 0.001)))
    give_up_s = time.monotonic() + 5
    while generations_in_use(state):
        assert time.monotonic() < give_up_s


def put(state: str, document: bytes | None, told: bytes | None) -> None:
    """Write what the service would not."""
    if "://" in state:
        client: Any = redis.Redis.from_url(state)
        if document is not None:
            client.set(DESIRED_KEY, document)
        if told is not None:
            client.hset(REPLICAS_KEY, "a", b"%d %s" % (time.time() * 1000 + 60_000, told))
        return
    (Path(state) / "replicas").mkdir(parents=True)
    if document is not None:
        (Path(state) / "desired.json").write_bytes(document)
    if told is not None:
        text = b'{"until_s": %d, "report": %s}' % (time.time() + 60, told)
        (Path(state) / "replicas" / "a.json").write_bytes(text)


@pytest.mark.parametrize(
    ("document", "told", "reason"),
    [
        (b"{", None, "the desired state: not a desired state"),
        (b'{"revision": 1}', None, "the desired state: not a desired state"),
        (None, b"{", "a replica's report is no JSON"),
        (None, b'{"replica": "a"}', "a replica's report cannot be read .KeyError: 'workers'"),
        (None, b'{"replica": "a", "workers": 3}', "a replica's report cannot be read"),
    ],
)
def test_what_cannot_be_read_frees_nothing(
    state: str, document: bytes | None, told: bytes | None, reason: str
) -> None:
    """A document or a report of another release stops a removal: it may name anything."""
    put(state, document, told)
    with pytest.raises(UnknownUse, match=f"{reason}.*[Nn]othing was removed"):
        generations_in_use(state)


def test_a_dead_redis_frees_nothing(server: EmbeddedRedis) -> None:
    """A state that cannot be reached is an error, never an empty one."""
    with pytest.raises(RedisFailed, match="does not answer"):
        generations_in_use("unix:///nowhere/redis.sock")


def test_reports_are_read_as_the_service_writes_them() -> None:
    """The report of a replica has the members that are looked for."""
    told = msgspec.to_builtins(report(("g", "active")))
    assert told["workers"][0]["targets"][0]["generation"] == "g"
    assert told["replica"] == "a"
