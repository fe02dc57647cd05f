"""Any orders: whatever is desired, somebody serves, and in the end it is the desired."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.desired import Canary, Desired
from service.errors import LoadRefused
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.loading import BundleLoader, Report
from service.lifecycle.served_model import LoadedBundle
from tests.fixtures.bundles import make_world, publish, write_bundle
from tests.fixtures.lifecycles import WatchedLoader, following, settled, target, until, wish
from tests.fixtures.redis import RedisServer

NAMES = ("1/a", "1/b", "2/a", "2/b", "3/a")


class ShelfLoader(BundleLoader):
    """A loader that has everything at hand, but for the versions that are broken."""

    def __init__(self, shelf: dict[int, LoadedBundle]) -> None:
        self.shelf = shelf
        self.broken: frozenset[int] = frozenset()

    def load(
        self, version: int, report: Report, digest: str | None = None, *, beside: bool = True
    ) -> LoadedBundle:
        """The version, or a refusal."""
        report("fetching")
        report("verifying")
        if version in self.broken:
            raise LoadRefused(f"version {version} is broken")
        report("warming")
        return self.shelf[version]

    def prune(self) -> None:
        """There are no copies."""


@dataclass(frozen=True)
class Step:
    """One order."""

    champion: str
    candidate: str | None
    previous: str | None
    canary: str | None
    broken: frozenset[int]
    waited: bool
    """Whether the next order comes only once this one has settled."""

    def desired(self, revision: int) -> Desired:
        """The document of it."""
        canary = Canary(target(self.canary), 0.5) if self.canary else None
        return wish(
            revision,
            self.champion,
            candidate=self.candidate,
            previous=self.previous,
            canary=canary if self.canary != self.champion else None,
        )


names = st.sampled_from(NAMES)
maybe = st.none() | names
steps = st.builds(
    Step, names, maybe, maybe, maybe, st.frozensets(st.integers(1, 3), max_size=2), st.booleans()
)


@pytest.fixture(scope="module")
def shelf(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> tuple[dict[int, LoadedBundle], str]:
    """Versions 1 to 3, loaded once, and where generations a and b stand."""
    folder: Path = tmp_path_factory.mktemp("shelf")
    redis = redis_server.client()
    redis.flushall()
    for version in (1, 2, 3):
        write_bundle(make_world(version), folder / "repository" / str(version))
    for generation in ("a", "b"):
        publish(make_world(1), redis, generation)
    loader = WatchedLoader(folder)
    shelf = {version: loader.load(version, lambda _: None) for version in (1, 2, 3)}
    return shelf, redis_server.url


@settings(max_examples=60)
@given(st.lists(steps, min_size=1, max_size=6))
def test_somebody_always_serves_and_in_the_end_the_desired(
    shelf: tuple[dict[int, LoadedBundle], str], orders: list[Step]
) -> None:
    """No order ends what serves before something else does; what can be held is held, no more."""
    asyncio.run(_obey(ShelfLoader(shelf[0]), shelf[1], orders))


async def _obey(loader: ShelfLoader, redis_url: str, orders: list[Step]) -> None:
    async with following(loader, redis_url) as lifecycle:
        served_before = False

        def check() -> None:
            nonlocal served_before
            roles = lifecycle.roles
            assert not any(model.retired for model in roles.serving)
            assert roles.champion is not None or not served_before
            served_before = roles.champion is not None

        lifecycle.on_change(check)
        for revision, order in enumerate(orders, 1):
            loader.broken = order.broken
            if order.waited:
                await settled(lifecycle, order.desired(revision))
            else:
                lifecycle.reconcile(order.desired(revision))
                await asyncio.sleep(0)
        await until(lambda: lifecycle.state().revision == len(orders))
        _judge(lifecycle, orders[-1].desired(len(orders)))


def _judge(lifecycle: Lifecycle, desired: Desired) -> None:
    state = lifecycle.state()
    held: dict[Any, str] = {target(t.name): t.state for t in state.targets}
    wanted = set(desired.resident)
    assert wanted <= set(held)
    ready = {name for name in wanted if held[name] in ("ready", "active")}
    assert all(held[name] == "failed" for name in wanted - ready)
    if desired.champion in ready:
        assert state.champion == str(desired.champion)
        surplus = {name for name in held if name not in wanted and held[name] != "draining"}
        assert surplus == set()
    canary = desired.canary.target if desired.canary else None
    assert state.canary == (str(canary) if canary in ready else None)
