"""Choosing a generation in a real Redis."""

import asyncio

import pytest

from model.generation import Generation
from service.errors import LoadRefused
from service.features.redis_store import RedisStore
from service.features.store import StoreUnavailable
from service.lifecycle.generations import choose_generation
from service.metrics import Metrics
from tests.fixtures.bundles import World, make_world, publish
from tests.fixtures.redis import RedisServer


def _choose(url: str, contract: str, name: str | None) -> Generation:
    async def choose() -> Generation:
        store = RedisStore(url, Metrics().round_trips)
        try:
            return await choose_generation(store, contract, name)
        finally:
            await store.close()

    return asyncio.run(choose())


def test_newest_complete_generation_of_the_contract_is_chosen(
    redis_server: RedisServer, world: World
) -> None:
    """Newer generations of another contract, or unfinished ones, are passed over."""
    redis = redis_server.client()
    redis.flushall()
    for name in ("old", "fits"):
        publish(world, redis, name)
    publish(make_world(1, "another encoder"), redis, "foreign")
    publish(world, redis, "unfinished", complete=False)
    assert _choose(redis_server.url, world.parts.contract, None).name == "fits"


def test_named_generation_of_another_contract_is_refused_with_both_digests(
    redis_server: RedisServer, world: World
) -> None:
    """Skew between model and records is impossible, and the operator sees which differs."""
    other = make_world(1, "another encoder")
    publish(other, redis_server.client(), "named")
    with pytest.raises(LoadRefused) as refusal:
        _choose(redis_server.url, world.parts.contract, "named")
    assert world.parts.contract in refusal.value.detail
    assert other.parts.contract in refusal.value.detail


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "not in the store"), ("half", "not complete"), ("bad name", "expected 1 to 64")],
)
def test_unusable_generation_is_refused(
    redis_server: RedisServer, world: World, name: str, reason: str
) -> None:
    """Missing, unfinished and misspelt generations are told apart."""
    publish(world, redis_server.client(), "half", complete=False)
    with pytest.raises(LoadRefused, match=reason):
        _choose(redis_server.url, world.parts.contract, name)


def test_damaged_meta_is_refused(redis_server: RedisServer, world: World) -> None:
    """A generation that cannot say what it is does not serve."""
    redis_server.client().set("choirrec:damaged:meta", "{}")
    with pytest.raises(LoadRefused, match="not a generation's meta"):
        _choose(redis_server.url, world.parts.contract, "damaged")


def test_silent_store_is_told_apart_from_an_empty_one(
    redis_server: RedisServer, world: World
) -> None:
    """Without a Redis nothing is concluded about generations."""
    redis_server.client().flushall()
    with pytest.raises(LoadRefused, match="there is no complete generation"):
        _choose(redis_server.url, world.parts.contract, None)
    with pytest.raises(StoreUnavailable):
        _choose("redis://127.0.0.1:1/0", world.parts.contract, None)
