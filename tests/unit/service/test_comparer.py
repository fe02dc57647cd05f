"""The comparer: both models answer the same request, and what differs is counted by level."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from model.desired import Canary, Desired, Shadow
from service.comparer import Comparer, challenger_of
from service.comparison.metrics import is_ready
from service.comparison.samples import Sample
from service.errors import ScoringFailed
from service.metrics import Metrics
from service.scorer import Scorer
from tests.fixtures.bundles import (
    ACTIVE_USER,
    AS_OF_S,
    ITEMS,
    QUIET_USER,
    SPEC,
    make_world,
    publish,
    write_bundle,
)
from tests.fixtures.lifecycles import WatchedLoader, following, target, until, wish
from tests.fixtures.redis import RedisServer


def _sample(user_id: str) -> Sample:
    return Sample(
        user_id=user_id,
        item_ids=list(ITEMS),
        time_s=AS_OF_S + 4000,
        hour=1,
        weekday=1,
        attributes=None,
        request_id="r",
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Path:
    """Version 1, version 2 that is the same model, version 3 that is another."""
    folder = tmp_path_factory.mktemp("shop")
    world = make_world(1)
    for one in (world, replace(world, version=2), make_world(3)):
        write_bundle(one, folder / "repository" / str(one.version))
    redis = redis_server.client()
    redis.flushall()
    publish(world, redis, "a")
    return folder


@asynccontextmanager
async def _comparing(
    folder: Path, redis_url: str, desired: Desired, comparison: str = "shadow"
) -> AsyncIterator[Comparer]:
    async with following(WatchedLoader(folder), redis_url) as lifecycle:
        comparer = Comparer(lifecycle, Metrics(), comparison)
        comparer.follow(desired)
        await until(lambda: lifecycle.state().revision >= desired.revision)
        yield comparer


def _shadow(revision: int, name: str) -> Desired:
    return wish(revision, "1/a", shadow=Shadow(target(name), 0.5))


def test_same_model_differs_in_nothing(shop: Path, redis_server: RedisServer) -> None:
    """A comparison has no difference of its own."""

    async def scenario() -> None:
        async with _comparing(shop, redis_server.url, _shadow(1, "2/a")) as comparer:
            assert is_ready(comparer.report())
            for _ in range(3):
                await comparer.compare(_sample(ACTIVE_USER))
            report = comparer.report()
            assert report.outcomes["compared"] == 3
            level = str(SPEC.activity_level(make_world(1).users[ACTIVE_USER].window_purchases))
            counts = report.levels[level]
            assert (counts.answers, counts.differing, counts.first_differs) == (3, 0, 0)
            assert counts.correlation_sum == pytest.approx(3.0)
            assert [sum(times) for times in report.seconds.values()] == [3, 3]

    asyncio.run(scenario())


def test_other_model_differs_and_another_pair_counts_anew(
    shop: Path, redis_server: RedisServer
) -> None:
    """Figures of one challenger never stand for another's."""

    async def scenario() -> None:
        async with _comparing(shop, redis_server.url, _shadow(1, "2/a")) as comparer:
            await comparer.compare(_sample(QUIET_USER))
            assert comparer.report().levels["1"].differing == 0
            comparer.follow(_shadow(2, "3/a"))
            await comparer.compare(_sample(QUIET_USER))
            assert comparer.report().outcomes["waiting"] == 1
            await until(lambda: is_ready(comparer.report()))
            await comparer.compare(_sample(QUIET_USER))
            report = comparer.report()
            assert (report.challenger, report.levels["1"].differing) == ("3/a", 1)
            assert report.levels["1"].answers == 1

    asyncio.run(scenario())


def test_canary_is_compared_by_a_comparison_of_its_own(
    shop: Path, redis_server: RedisServer
) -> None:
    """Canary and shadow may run at once, each beside the champion."""
    both = wish(1, "1/a", canary=Canary(target("3/a"), 0.1), shadow=Shadow(target("2/a"), 0.5))
    assert challenger_of(both, "canary") == target("3/a")
    assert challenger_of(both, "shadow") == target("2/a")
    assert challenger_of(wish(2, "1/a"), "shadow") is None

    async def scenario() -> None:
        async with _comparing(shop, redis_server.url, both, "canary") as comparer:
            assert comparer.report().challenger == "3/a"
            assert {t.version for t in comparer.report().targets} == {1, 3}

    asyncio.run(scenario())


def test_sample_before_any_order_waits(shop: Path, redis_server: RedisServer) -> None:
    """What comes too early is counted, and compares nothing with nothing."""

    async def scenario() -> None:
        async with following(WatchedLoader(shop), redis_server.url) as lifecycle:
            comparer = Comparer(lifecycle, Metrics(), "shadow")
            await comparer.compare(_sample(QUIET_USER))
            assert comparer.report().outcomes["waiting"] == 1

    asyncio.run(scenario())


def test_challenger_that_cannot_load_is_told(shop: Path, redis_server: RedisServer) -> None:
    """The reason stands in the report, and samples wait."""

    async def scenario() -> None:
        async with _comparing(shop, redis_server.url, _shadow(1, "9/a")) as comparer:
            await comparer.compare(_sample(QUIET_USER))
            report = comparer.report()
            assert report.outcomes["waiting"] == 1
            (failed,) = [t for t in report.targets if t.version == 9]
            assert failed.state == "failed"
            assert "model version 9" in (failed.reason or "")

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [ScoringFailed("not finite"), RuntimeError("broken")])
def test_side_that_gives_no_answer_is_counted(
    shop: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A challenger that breaks cannot hide as samples that never came, however it breaks."""

    def fail(*_: object) -> None:
        raise error

    async def scenario() -> None:
        async with _comparing(shop, redis_server.url, _shadow(1, "3/a")) as comparer:
            monkeypatch.setattr(Scorer, "score", fail)
            with suppress(RuntimeError):
                await comparer.compare(_sample(QUIET_USER))
            outcomes = comparer.report().outcomes
            assert (outcomes["failed"], sum(outcomes.values())) == (1, 1)

    asyncio.run(scenario())


def test_answer_without_records_is_not_compared(tmp_path: Path) -> None:
    """A Redis that is gone says nothing of a model."""
    world = make_world(1)
    for one in (world, replace(world, version=2)):
        write_bundle(one, tmp_path / "repository" / str(one.version))

    async def scenario() -> None:
        nowhere = "redis://127.0.0.1:1/0"
        async with following(WatchedLoader(tmp_path), nowhere) as lifecycle:
            comparer = Comparer(lifecycle, Metrics(), "shadow")
            comparer.follow(_shadow(1, "2/a"))
            await until(lambda: lifecycle.roles.champion is not None)
            await comparer.compare(_sample(QUIET_USER))
            assert comparer.report().outcomes["compared"] == 0

    asyncio.run(scenario())
