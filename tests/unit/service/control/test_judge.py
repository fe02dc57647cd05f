"""The judge: one replica rolls a bad canary back for all, and a good one stays."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from model.desired import Canary, Desired, Target
from model.reference import ReferenceSketch
from service.control.agreement import Agreement
from service.control.bundle_parts import BundleParts, Unreadable
from service.control.changes import stop_canary
from service.control.file_state import FileState
from service.control.guards import Kind, Limits
from service.control.judge import Judge
from service.control.local_copy import LocalCopy
from service.control.watch import Beginning, Identity, Watch
from service.errors import LoadRefused
from service.lifecycle.states import RoleCounts, WorkerState
from tests.control import CHANGE, desired_state
from tests.fixtures.fleets import PlannedFleet
from tests.guards import GOOD, Behaviour, sketch, window

CANARY = Target(2, "g1")
LIMITS = Limits(calls=300, answers=100)
BAD = GOOD.altered(shift={1: -3.0})


class CountingFleet(PlannedFleet):
    """Workers that have answered what a test says."""

    counts: dict[str, RoleCounts] = {}  # noqa: RUF012 - replaced whole

    def states(self) -> Sequence[WorkerState]:
        """As ``Fleet.states``: one worker."""
        state = WorkerState(worker=0, pid=1, revision=1, ready=True, counts=self.counts)
        return [state]


class PlannedParts(BundleParts):
    """One reference sketch for every version, unless it cannot be read."""

    def __init__(self, sketched: ReferenceSketch) -> None:
        """Hold it."""
        self.sketched: ReferenceSketch | None = sketched
        self.asked: set[tuple[int, str | None]] = set()

    async def reference(self, version: int, digest: str | None) -> ReferenceSketch:
        """As ``BundleParts.reference``."""
        self.asked.add((version, digest))
        if self.sketched is None:
            raise Unreadable(f"model version {version} is gone")
        return self.sketched


async def _never() -> Target:
    raise LoadRefused("the state is there already")


@dataclass
class World:
    """A replica's judge on a state that a test can share with others."""

    folder: Path
    name: str = "r1"
    rolled_back: list[Kind] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Wire it."""
        self.rng = np.random.default_rng(7)
        self.reference = sketch(self.rng)
        self.parts = PlannedParts(self.reference)
        self.store = FileState(self.folder / "state")
        self.fleet = CountingFleet()
        copy = LocalCopy(self.folder / self.name, "state")
        self.watch = Watch(
            self.store, self.fleet, copy, Beginning(_never, None), Identity(self.name, "host")
        )
        agreement = Agreement(self.store, self.watch)
        self.judge = Judge(self.store, agreement, self.watch, self.parts, LIMITS, 10.0)
        self.judge.on_rollback(self.rolled_back.extend)
        self.now_s = 100.0

    async def begin(self) -> None:
        """A champion and a canary for half of the users."""
        canaried = replace(desired_state(2), canary=Canary(CANARY, 0.5))
        if await self.store.change(0, desired_state()):
            await self.store.change(1, canaried)
        await self.watch.follow_once()
        self.fleet.counts = {"1/g1": RoleCounts(), "2/g1": RoleCounts()}

    async def windows(self, behaviour: Behaviour, number: int = 1) -> None:
        """Let both answer for some windows, and look."""
        for _ in range(number):
            await self.judge.look(self.now_s)
            for name, how in (("1/g1", GOOD), ("2/g1", behaviour)):
                self.fleet.counts = {
                    **self.fleet.counts,
                    name: window(self.rng, how, self.reference, 400, 150),
                }
            self.now_s += 11.0
            await self.judge.look(self.now_s)
            self.fleet.counts = {"1/g1": RoleCounts(), "2/g1": RoleCounts()}
            await self.watch.follow_once()

    async def present(self) -> Desired:
        """The document that holds."""
        desired = await self.store.read()
        assert desired is not None
        return desired


def _run(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(folder)
        await world.begin()
        await scenario(world)

    asyncio.run(run())


def test_good_canary_stays(tmp_path: Path) -> None:
    """Windows pass, and nothing is written."""

    async def scenario(world: World) -> None:
        await world.windows(GOOD, 5)
        assert (await world.present()).revision == 2
        told = world.judge.findings()["guard"]
        assert (told["canary"], told["champion"], told["windows"]) == ("2/g1", "1/g1", 5)

    _run(tmp_path, scenario)


def test_bad_canary_is_rolled_back_with_the_evidence(tmp_path: Path) -> None:
    """One revision ends it, and says who, why and by which figures."""

    async def scenario(world: World) -> None:
        await world.windows(BAD)
        present = await world.present()
        assert (present.revision, present.canary, present.champion.version) == (3, None, 1)
        change = present.change
        assert (change.who, change.action) == ("guard", "roll back canary")
        assert "activity level 1" in change.why
        assert change.evidence["canary"] == "2/g1"
        assert [alarm["kind"] for alarm in change.evidence["alarms"]] == ["drift"]
        assert world.rolled_back == ["drift"]
        assert world.judge.findings() == {}

    _run(tmp_path, scenario)


def test_only_the_holder_of_the_lease_judges(tmp_path: Path) -> None:
    """Two replicas never roll back twice, nor by half of the evidence each."""

    async def scenario(world: World) -> None:
        assert await world.store.lease("another", 60.0)
        await world.windows(BAD, 2)
        assert (await world.present()).revision == 2
        assert world.judge.findings() == {}

    _run(tmp_path, scenario)


def test_canary_that_was_replaced_meanwhile_is_not_touched(tmp_path: Path) -> None:
    """A verdict holds for the target that was judged, and for no other."""

    async def scenario(world: World) -> None:
        present = await world.present()
        stopped = stop_canary(present, CHANGE)
        other = replace(stopped, revision=4, canary=Canary(Target(3, "g1"), 0.5))
        await world.store.change(2, stopped)
        await world.store.change(3, other)
        await world.windows(BAD)  # the watch has not seen the others' orders yet
        assert (await world.present()) == other
        assert world.rolled_back == []

    _run(tmp_path, scenario)


def test_without_sketches_errors_are_judged_all_the_same(tmp_path: Path) -> None:
    """A repository that is away blinds the guard for drift, and for nothing else."""

    async def scenario(world: World) -> None:
        world.parts.sketched = None
        await world.windows(BAD)
        assert (await world.present()).revision == 2
        (why, *_) = world.judge.findings()["guard"]["unjudged"]
        assert why == "model version 1 is gone"
        await world.windows(GOOD.altered(error_rate=0.2))
        assert world.rolled_back == ["errors"]

    _run(tmp_path, scenario)


def test_sketches_are_those_of_the_bundles_that_answer(tmp_path: Path) -> None:
    """Each side is laid beside the bundle that its number means, where that is known."""

    async def scenario(world: World) -> None:
        present = await world.present()
        await world.store.change(2, replace(present, revision=3, bundles={2: "digest 2"}))
        await world.watch.follow_once()
        await world.judge.look(world.now_s)
        assert world.parts.asked == {(1, None), (2, "digest 2")}

    _run(tmp_path, scenario)


def test_without_a_canary_nothing_is_asked(tmp_path: Path) -> None:
    """A replica that has nothing to judge neither takes the lease nor reads reports."""

    async def scenario(world: World) -> None:
        await world.store.change(2, stop_canary(await world.present(), CHANGE))
        await world.watch.follow_once()
        await world.judge.look(1.0)
        assert await world.store.lease("another", 1.0)

    _run(tmp_path, scenario)


def test_mistake_in_one_look_does_not_end_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong once, the canary is watched on."""
    monkeypatch.setattr("service.control.judge.LOOK_S", 0.001)
    looks = []

    async def scenario(world: World) -> None:
        async def fail(now_s: float) -> None:
            looks.append(now_s)
            raise RuntimeError("planted")

        monkeypatch.setattr(world.judge, "look", fail)
        running = asyncio.create_task(world.judge.run())
        async with asyncio.timeout(20):
            while len(looks) < 3:
                await asyncio.sleep(0.001)
        running.cancel()

    _run(tmp_path, scenario)
