"""What every feature store keeps: one suite, every implementation, a real Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from service.api.server import new_loop
from service.features.breaker import FAILURES_TO_OPEN, GuardedStore
from service.features.redis_store import RedisStore
from service.features.store import FeatureStore, StoreTimeout, StoreUnavailable
from service.metrics import Metrics
from tests.fixtures.redis import RedisServer, running_redis

Make = Callable[[RedisServer], FeatureStore]
Answer = TypeVar("Answer")


def _by_tcp(server: RedisServer) -> FeatureStore:
    return RedisStore(server.url, Metrics().round_trips)


def _by_unix_socket(server: RedisServer) -> FeatureStore:
    return RedisStore(server.unix_url, Metrics().round_trips)


def _guarded(server: RedisServer) -> FeatureStore:
    metrics = Metrics()
    return GuardedStore(RedisStore(server.url, metrics.round_trips), metrics.breaker_open)


@pytest.fixture(params=[_by_tcp, _by_unix_socket, _guarded], ids=["tcp", "unix", "guarded"])
def make(request: pytest.FixtureRequest) -> Make:
    """One implementation after the other."""
    chosen: Make = request.param
    return chosen


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill and hang."""
    with running_redis(tmp_path) as started:
        yield started


def _run(
    make: Make, server: RedisServer, scenario: Callable[[FeatureStore], Awaitable[Answer]]
) -> Answer:
    async def run() -> Answer:
        store = make(server)
        try:
            return await scenario(store)
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(run())


def _soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_values_come_in_the_order_of_their_keys(make: Make, server: RedisServer) -> None:
    """Bytes arrive as they were written, missing keys as None, doubles twice."""
    server.client().mset({"a": b"\x00\xff", "b": b""})

    async def scenario(store: FeatureStore) -> list[bytes | None]:
        return await store.read(["b", "none", "a", "a"], _soon(5))

    assert _run(make, server, scenario) == [b"", None, b"\x00\xff", b"\x00\xff"]


def test_generations_come_newest_last(make: Make, server: RedisServer) -> None:
    """The list is read as publishing writes it."""
    server.client().rpush("choirrec:generations", "g1", "g2")

    async def scenario(store: FeatureStore) -> list[str]:
        return await store.complete_generations(_soon(5))

    assert _run(make, server, scenario) == ["g1", "g2"]


def test_more_calls_than_connections_wait_their_turn(make: Make, server: RedisServer) -> None:
    """A burst is answered in full, not refused."""
    server.client().set("k", "v")

    async def scenario(store: FeatureStore) -> list[list[bytes | None]]:
        return await asyncio.gather(*(store.read(["k"], _soon(10)) for _ in range(200)))

    assert _run(make, server, scenario) == [[b"v"]] * 200


def test_answer_that_arrived_in_time_is_read_after_the_deadline(
    make: Make, server: RedisServer
) -> None:
    """Work on the event loop delays its timers; that alone turns no answer into a miss."""
    server.client().set("k", "v")

    async def scenario(store: FeatureStore) -> list[bytes | None]:
        await store.read(["k"], _soon(5))
        server.hang()
        asked = asyncio.create_task(store.read(["k"], _soon(0.2)))
        for _ in range(50):
            await asyncio.sleep(0)  # the command goes out
        server.resume()
        time.sleep(0.5)  # the answer arrives in time, while the loop is busy
        return await asked

    assert _run(make, server, scenario) == [b"v"]


def test_hung_server_costs_the_deadline_and_no_more(make: Make, server: RedisServer) -> None:
    """A call ends at its deadline, whatever the server does."""
    server.client().set("k", "v")

    async def scenario(store: FeatureStore) -> float:
        await store.read(["k"], _soon(5))
        server.hang()
        begun = time.monotonic()
        with pytest.raises(StoreTimeout):
            await store.read(["k"], _soon(0.05))
        return time.monotonic() - begun

    try:
        assert 0.04 < _run(make, server, scenario) < 2.0
    finally:
        server.resume()


def test_answers_after_a_hang_are_never_mixed_up(make: Make, server: RedisServer) -> None:
    """An answer that comes too late is not given to the next caller."""
    server.client().mset({f"k{n}": str(n) for n in range(40)})

    async def scenario(store: FeatureStore) -> None:
        for number in range(0, 40, 4):
            server.hang()
            with pytest.raises(StoreUnavailable):
                await store.read([f"k{number}"], _soon(0.002))
            server.resume()
            await _until_answered(store)
            for other in range(4):
                key = number + other
                assert await store.read([f"k{key}"], _soon(5)) == [str(key).encode()]

    _run(make, server, scenario)


def test_dead_server_is_told_and_a_new_one_is_found(make: Make, server: RedisServer) -> None:
    """Connections of a server that died do not fail the first calls to its successor for long."""

    async def scenario(store: FeatureStore) -> None:
        await asyncio.gather(*(store.read(["k"], _soon(5)) for _ in range(4)))
        server.kill()
        for _ in range(FAILURES_TO_OPEN + 2):
            with pytest.raises(StoreUnavailable):
                await store.read(["k"], _soon(1))
        server.start()
        await _until_answered(store)

    _run(make, server, scenario)


def test_error_of_the_server_is_unavailability(make: Make, server: RedisServer) -> None:
    """Whatever Redis objects to, callers get the ladder, not the library's exception."""
    server.client().set("choirrec:generations", "not a list")

    async def scenario(store: FeatureStore) -> None:
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await store.complete_generations(_soon(5))

    _run(make, server, scenario)


def test_cancelled_callers_leave_the_store_whole(make: Make, server: RedisServer) -> None:
    """Callers who leave in the middle neither leak connections nor spoil answers."""
    server.client().mset({f"k{n}": str(n) for n in range(50)})

    async def scenario(store: FeatureStore) -> None:
        for number in range(50):
            task = asyncio.create_task(store.read([f"k{number}"], _soon(5)))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.read([f"k{number}"], _soon(5)) == [str(number).encode()]

    _run(make, server, scenario)


async def _until_answered(store: FeatureStore) -> None:
    """Ask until the store answers again, as it must within a few seconds."""
    give_up_s = _soon(10)
    while True:
        try:
            await store.read(["k"], _soon(1))
        except StoreUnavailable:
            assert asyncio.get_running_loop().time() < give_up_s
            await asyncio.sleep(0.02)
        else:
            return
