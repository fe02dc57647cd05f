"""What may be asked for: a version of the repository with a generation that fits it."""

import asyncio
from pathlib import Path

import pytest

from model.desired import Target
from model.repository import Repository
from service.control.targets import Targets
from service.errors import LoadRefused
from service.features.redis_store import RedisStore
from service.metrics import Metrics
from tests.fixtures.bundles import World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer


@pytest.fixture
def generations(redis_server: RedisServer, world: World) -> RedisServer:
    """A Redis with generations g1 and g2 of version 1's contract, and a foreign one."""
    redis = redis_server.client()
    redis.flushall()
    for name in ("g1", "g2"):
        publish(world, redis, name)
    publish(make_world(4, "another encoder"), redis, "foreign")
    return redis_server


def _choose(home: Path, server: RedisServer, version: int | None, generation: str | None) -> Target:
    async def choose() -> Target:
        store = RedisStore(server.url, Metrics().round_trips)
        try:
            targets = Targets(Repository(str(home / "repository")), store)
            return await targets.choose(version, generation)
        finally:
            await store.close()

    return asyncio.run(choose())


def test_what_is_left_out_is_the_newest_that_fits(home: Path, generations: RedisServer) -> None:
    """A generation of another contract is passed over, however new it is."""
    assert _choose(home, generations, None, None) == Target(1, "g2")
    assert _choose(home, generations, 1, "g1") == Target(1, "g1")


@pytest.mark.parametrize(
    ("version", "generation", "reason"),
    [
        (9, None, "model version 9 is not in"),
        (1, "absent", "generation absent is not in the store"),
        (1, "foreign", "has feature contract"),
        (1, "a b", "expected 1 to 64 letters"),
    ],
)
def test_what_cannot_serve_is_refused_before_a_worker_is_asked(
    home: Path, generations: RedisServer, version: int, generation: str | None, reason: str
) -> None:
    """The reason is the one that a worker would give, seconds earlier."""
    with pytest.raises(LoadRefused, match=reason):
        _choose(home, generations, version, generation)


def test_empty_repository_and_damaged_manifest_are_named(
    tmp_path: Path, generations: RedisServer, world: World
) -> None:
    """An operator learns which file to look at."""
    with pytest.raises(LoadRefused, match="holds no complete model version"):
        _choose(tmp_path, generations, None, None)
    write_bundle(world, tmp_path / "repository" / "1")
    (tmp_path / "repository" / "1" / "manifest.json").write_text("{")
    with pytest.raises(LoadRefused, match="model version 1: "):
        _choose(tmp_path, generations, 1, None)


def test_held_version_is_not_looked_up(
    tmp_path: Path, generations: RedisServer, world: World
) -> None:
    """With a contract that workers have checked, a lost repository is no matter."""

    async def choose(contract: str) -> Target:
        store = RedisStore(generations.url, Metrics().round_trips)
        try:
            targets = Targets(Repository(str(tmp_path / "lost")), store)
            return await targets.choose(1, None, contract)
        finally:
            await store.close()

    assert asyncio.run(choose(world.parts.contract)) == Target(1, "g2")


def test_silent_store_is_a_refusal(home: Path, tmp_path: Path) -> None:
    """Without Redis no generation can be chosen; the order says so."""
    with pytest.raises(LoadRefused, match="no generation can be chosen"):
        _choose(home, RedisServer(tmp_path), 1, None)
