"""Swaps in a row: nothing fails, nothing is mixed, nothing is kept; planted faults are caught."""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.api.answer import answer
from service.api.wire import Limits, parse_single
from service.lifecycle.holding import Holding
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.served_model import ServedModel
from service.metrics import Metrics
from tests.fixtures.bundles import ITEMS, make_world, publish, write_bundle
from tests.fixtures.lifecycles import WatchedLoader, following, settled, until, wish
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import body

SWAPS = 50
TARGETS = ("1/a", "2/a", "2/b", "3/b", "1/b", "3/a")


@dataclass
class _Seen:
    """What callers met, and what was held."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    models: list["weakref.ref[Any]"] = field(default_factory=list)


async def _call_until(done: asyncio.Event, lifecycle: Lifecycle, seen: _Seen) -> None:
    """Call as the scoring route does, one after the other."""
    limits, metrics = Limits(100, 1), Metrics()
    while not done.is_set():
        (call,) = parse_single(body("user-5", list(ITEMS[:3])).encode(), limits, "r")
        try:
            with lifecycle.current(call.user_id) as served:
                (one,) = await answer(served, [call], metrics)
                columns = one.columns
                named = (columns["model_version"], columns["generation"])
                if named != (served.version, served.generation_name) or columns["degraded"]:
                    seen.failures.append(f"{named} by {served.version}, {columns['degraded']}")
        except Exception as error:
            seen.failures.append(repr(error))
        seen.answers += 1
        await asyncio.sleep(0)


def _note(served: ServedModel, seen: _Seen) -> None:
    """Watch everything that must go with a model."""
    loaded = served.loaded
    parts = (served, loaded, loaded.scorer, loaded.scorer._session, loaded.bundle, loaded.copy)
    seen.models += [weakref.ref(part) for part in parts]


async def _swap_and_judge(loader: WatchedLoader, redis_url: str) -> None:
    """Swap again and again under calls; judge the answers, and what is left in memory."""
    seen, done = _Seen(), asyncio.Event()
    async with following(loader, redis_url) as lifecycle:
        await settled(lifecycle, wish(1, TARGETS[0]))
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        caller = asyncio.create_task(_call_until(done, lifecycle, seen))
        for swap in range(1, SWAPS + 1):
            before, after = TARGETS[(swap - 1) % 6], TARGETS[swap % 6]
            if swap % 2:  # else the worker was away while the others prepared
                await settled(lifecycle, wish(2 * swap, before, candidate=after))
            await settled(lifecycle, wish(2 * swap + 1, after))
            _note(lifecycle.current("user"), seen)
        done.set()
        await caller
        await until(lambda: len(lifecycle.state().targets) == 1)
        # No collector is asked to help: memory that waits for it is memory that is missing.
        held = {id(part) for part in (one() for one in seen.models) if part is not None}
        assert seen.failures == []
        assert len(held) <= 6, f"{len(held)} parts are held, those of one model are 6"
        assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + SWAPS // 5
        assert seen.answers > SWAPS


@pytest.fixture
def loader(tmp_path: Path, redis_server: RedisServer) -> WatchedLoader:
    """A loader of versions 1 to 3, with generations a and b published."""
    redis = redis_server.client()
    redis.flushall()
    for version in (1, 2, 3):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
    for generation in ("a", "b"):
        publish(make_world(1), redis, generation)
    return WatchedLoader(tmp_path)


def test_swaps_fail_nothing_mix_nothing_and_keep_nothing(
    loader: WatchedLoader, redis_server: RedisServer, tmp_path: Path
) -> None:
    """After 50 swaps of models and generations under calls one model is held, and no more."""
    asyncio.run(_swap_and_judge(loader, redis_server.url))
    assert sum(path.is_dir() for path in (tmp_path / "store").iterdir()) <= 3


def _leak(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[ServedModel] = []
    drain = Holding.drain

    def leaky(holding: Holding, served: ServedModel) -> None:
        kept.append(served)
        drain(holding, served)

    monkeypatch.setattr(Holding, "drain", leaky)


def _unload_before_load(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Lifecycle._settle

    async def hasty(lifecycle: Lifecycle, wished: Any) -> None:
        for key, resident in lifecycle._holding.residents:
            if key not in wished.keys and resident.served is not None:
                resident.served.retire()
        await settle(lifecycle, wished)

    monkeypatch.setattr(Lifecycle, "_settle", hasty)


@pytest.mark.parametrize(
    ("plant", "complaint"),
    [(_leak, "parts are held"), (_unload_before_load, "RuntimeError.*is retired")],
)
def test_planted_faults_are_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    complaint: str,
    loader: WatchedLoader,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test above fails for a model that is kept, and for one that goes before the next is."""
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=complaint):
        asyncio.run(_swap_and_judge(loader, redis_server.url))
