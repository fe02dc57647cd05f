"""Orders of operators over two replicas: prepared everywhere, then switched, or withdrawn."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import pytest

from model.desired import Canary, Change, Desired, Shadow, Target
from service.control import agreement as waiting
from service.control.agreement import Agreement
from service.control.file_state import FileState
from service.control.finding import Finding
from service.control.local_copy import LocalCopy
from service.control.operator import Operator
from service.control.orders import Order
from service.control.targets import Targets
from service.control.watch import Beginning, Identity, Watch
from service.errors import (
    ChangeRefused,
    GuardRefused,
    LoadRefused,
    NotConverged,
    StateUnavailable,
)
from tests.control import desired_state
from tests.fixtures.fleets import PlannedFleet

ORDER = Order("ann@host", "a better model")
SECOND = Target(2, "g1")
KNOWN_VERSIONS = (1, 2, 3)


class PlannedTargets(Targets):
    """A repository of three versions with one newest generation, or the one that is asked for."""

    def __init__(self) -> None:
        """Hold no places."""
        self.newest = "g1"
        self.versions = set(KNOWN_VERSIONS)

    async def choose(
        self, version: int | None, generation: str | None, contract: str | None = None
    ) -> Target:
        """As ``Targets.choose``."""
        if version is None or (version not in self.versions and contract is None):
            raise LoadRefused(f"model version {version} is not in the repository")
        return Target(version, generation or self.newest)


class PlannedGuards:
    """Says what a test wants."""

    def __init__(self) -> None:
        """Find nothing wrong."""
        self.finding = Finding()

    async def judge_promotion(self, champion: Target, candidate: Target) -> Finding:
        """As ``Guards.judge_promotion``."""
        return self.finding


@dataclass
class World:
    """Two replicas of two workers that share one state."""

    store: FileState
    fleets: tuple[PlannedFleet, PlannedFleet]
    operators: tuple[Operator, Operator]
    guards: PlannedGuards
    targets: PlannedTargets
    watching: list[asyncio.Task[None]]

    async def history(self) -> list[str]:
        """The actions, oldest first."""
        return [entry.change.action for entry in reversed(await self.store.history(100))]


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    store, guards, targets = FileState(folder / "state"), PlannedGuards(), PlannedTargets()
    await store.change(0, desired_state())
    fleets = (PlannedFleet(), PlannedFleet())
    operators, watching = [], []
    for number, fleet in enumerate(fleets):
        watch = Watch(
            store,
            fleet,
            LocalCopy(folder / str(number), "state"),
            Beginning(_never, None),
            Identity(f"r{number}", "host"),
        )
        watching.append(asyncio.create_task(watch.run()))
        operators.append(Operator(Agreement(store, watch), targets, guards))
    try:
        async with asyncio.timeout(20):
            while len(await store.replicas()) < 2:
                await asyncio.sleep(0.01)
        yield World(store, fleets, (operators[0], operators[1]), guards, targets, watching)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _never() -> Target:
    raise LoadRefused("the state is there already")


def _run(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with _world(folder) as world:
            await scenario(world)

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FOLLOW_S", 5.0)
    monkeypatch.setattr(waiting, "COMPARE_S", 0.2)


def test_promotion_prepares_everywhere_and_then_switches(tmp_path: Path) -> None:
    """Every worker is asked before any user is answered; the history says what each one said."""

    async def scenario(world: World) -> None:
        outcome = await world.operators[0].promote(ORDER, 2, None)
        assert outcome.result == "done"
        assert outcome.before["champion"] == "1/g1"
        assert (outcome.after["champion"], outcome.after["previous"]) == ("2/g1", "1/g1")
        assert len(outcome.verdicts) == 4
        assert all(verdict.ready for verdict in outcome.verdicts)
        assert await world.history() == ["first", "promote", "activate"]
        for fleet in world.fleets:
            roles = [(d.candidate, d.champion.version) for d in fleet.pushed]
            assert roles == [(None, 1), (SECOND, 1), (None, 2)]
        (entry,) = await world.store.history(1)
        assert (entry.change.who, entry.change.why) == (ORDER.who, ORDER.why)
        assert entry.change.evidence["digests"] == ["digest 2"]
        assert entry.change.evidence["workers"] == {"ready": 4}

    _run(tmp_path, scenario)


def test_worker_that_fails_keeps_the_version_from_everybody(tmp_path: Path) -> None:
    """One failure of four withdraws the candidate, and the answer holds each worker's verdict."""

    async def scenario(world: World) -> None:
        world.fleets[1].failures[0, SECOND] = "golden request 3: group_logit 1, expected 2"
        with pytest.raises(NotConverged) as caught:
            await world.operators[0].promote(ORDER, 2, None)
        assert "worker 0 of r1: failed (golden request 3" in caught.value.detail
        assert "withdrawn, and 1/g1 serves as before" in caught.value.detail
        states = [verdict["state"] for verdict in caught.value.members["verdicts"]]
        assert states == ["ready", "ready", "failed", "ready"]
        assert await world.history() == ["first", "promote", "withdraw"]
        (entry,) = await world.store.history(1)
        assert "golden request 3" in entry.change.evidence["refused"]
        assert entry.change.evidence["workers"] == {"ready": 3, "failed": 1}
        present = await world.store.read()
        assert present is not None
        assert (present.champion, present.candidate) == (Target(1, "g1"), None)

    _run(tmp_path, scenario)


def test_worker_that_never_settles_is_named_after_the_time(tmp_path: Path) -> None:
    """A promotion ends in the time it was given, and says who was not ready."""

    async def scenario(world: World) -> None:
        world.fleets[1].held = True
        with pytest.raises(NotConverged) as caught:
            await world.operators[0].promote(Order("ann", "why", within_s=0.5), 2, None)
        assert "2/g1 was not ready everywhere within 0.5 s" in caught.value.detail
        assert "worker 1 of r1: absent" in caught.value.detail
        assert await world.history() == ["first", "promote", "withdraw"]

    _run(tmp_path, scenario)


def test_different_bundles_under_one_version_are_refused(tmp_path: Path) -> None:
    """Replicas that read different repositories are found before they answer differently."""

    async def scenario(world: World) -> None:
        world.fleets[1].digests[1, SECOND] = "another digest"
        with pytest.raises(NotConverged, match="workers loaded different bundles as 2/g1"):
            await world.operators[0].promote(ORDER, 2, None)

    _run(tmp_path, scenario)


def test_dead_replica_drops_out_of_a_promotion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that dies meanwhile is waited for until its report expires, not for ever."""
    monkeypatch.setattr("service.control.watch.REPORT_LIFE_S", 1.5)

    async def scenario(world: World) -> None:
        world.fleets[1].held = True
        world.watching[1].cancel()
        outcome = await world.operators[0].promote(ORDER, 2, None)
        assert outcome.result == "done"
        assert {verdict.replica for verdict in outcome.verdicts} == {"r0"}

    _run(tmp_path, scenario)


def test_promoting_the_champion_says_so(tmp_path: Path) -> None:
    """An order given twice is carried out once."""

    async def scenario(world: World) -> None:
        assert (await world.operators[0].promote(ORDER, 1, None)).result == "already"
        await world.operators[0].promote(ORDER, 2, None)
        assert (await world.operators[1].promote(ORDER, 2, None)).result == "already"
        assert await world.history() == ["first", "promote", "activate"]

    _run(tmp_path, scenario)


def test_same_order_on_two_replicas_at_once_is_one_promotion(tmp_path: Path) -> None:
    """Whoever comes second joins the first, and both get the verdicts."""

    async def scenario(world: World) -> None:
        outcomes = await asyncio.gather(
            *(operator.promote(ORDER, 2, None) for operator in world.operators)
        )
        assert {outcome.after["champion"] for outcome in outcomes} == {"2/g1"}
        assert await world.history() == ["first", "promote", "activate"]

    _run(tmp_path, scenario)


def test_second_promotion_waits_for_the_first(tmp_path: Path) -> None:
    """Two versions are never prepared at once; the second operator learns whose turn it is."""

    async def scenario(world: World) -> None:
        for fleet in world.fleets:
            fleet.held = True
        first = asyncio.create_task(world.operators[0].promote(ORDER, 2, None))
        async with asyncio.timeout(20):
            while len(await world.history()) < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(ChangeRefused, match=r"2/g1 is being prepared .* promote by ann@host"):
            await world.operators[1].promote(Order("bob", "why"), 3, None)
        withdrawn = await world.operators[1].withdraw(Order("bob", "the wrong one"))
        assert withdrawn.after["candidate"] is None
        with pytest.raises(
            ChangeRefused, match=r"no longer the candidate.*withdraw by bob: the wr"
        ):
            await first

    async def settled(world: World) -> None:
        settling = asyncio.create_task(_settle_withdrawals(world))
        try:
            await scenario(world)
        finally:
            settling.cancel()

    _run(tmp_path, settled)


async def _settle_withdrawals(world: World) -> None:
    while True:
        for fleet in world.fleets:
            if fleet.pushed and fleet.pushed[-1].change.action == "withdraw":
                fleet.settle()
        await asyncio.sleep(0.01)


def test_rollback_is_one_step_to_what_is_loaded(tmp_path: Path) -> None:
    """Going back prepares nothing; who names that rollback goes forward again."""

    async def scenario(world: World) -> None:
        await world.operators[0].promote(ORDER, 2, None)
        outcome = await world.operators[1].rollback(Order("bob", "orders fell"))
        assert (outcome.after["champion"], outcome.after["previous"]) == ("1/g1", "2/g1")
        assert await world.history() == ["first", "promote", "activate", "rollback"]
        again = await world.operators[0].rollback(replace(ORDER, revision=outcome.revision))
        assert again.after["champion"] == "2/g1"

    _run(tmp_path, scenario)


def test_two_rollbacks_at_once_are_one(tmp_path: Path) -> None:
    """Two operators who see one fault do not bring the bad version back between them."""

    async def scenario(world: World) -> None:
        await world.operators[0].promote(ORDER, 2, None)
        outcomes = await asyncio.gather(*(o.rollback(ORDER) for o in world.operators))
        late = await world.operators[1].rollback(ORDER)
        assert sorted(outcome.result for outcome in outcomes) == ["already", "done"]
        assert late.result == "already"
        assert late.after["champion"] == "1/g1"
        assert await world.history() == ["first", "promote", "activate", "rollback"]
        plan = await world.operators[1].rollback(replace(ORDER, dry_run=True))
        assert plan.result == "already"

    _run(tmp_path, scenario)


def test_plan_that_no_longer_holds_is_not_carried_out(tmp_path: Path) -> None:
    """What was agreed to is done, or nothing: never what it has turned into meanwhile."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        await operator.promote(ORDER, 2, None)
        plan = await operator.rollback(replace(ORDER, dry_run=True))
        agreed = replace(ORDER, revision=plan.revision)
        await world.operators[1].rollback(Order("bob", "orders fell"))
        for order in (
            operator.rollback(agreed),
            operator.promote(agreed, 3, None),
            operator.canary(agreed, 3, None, 0.1),
            operator.shadow(agreed, 3, None, 0.1),
            operator.shadow(replace(agreed, dry_run=True), 3, None, 0.1),
        ):
            with pytest.raises(ChangeRefused, match=r"revision 4 holds: rollback by bob: orders f"):
                await order
        assert await world.history() == ["first", "promote", "activate", "rollback"]

    _run(tmp_path, scenario)


def test_plan_names_the_generation_it_chose(tmp_path: Path) -> None:
    """Whoever agrees to a plan can ask for just that, whatever is published meanwhile."""

    async def scenario(world: World) -> None:
        operator, dry = world.operators[0], replace(ORDER, dry_run=True)
        plans = [
            await operator.promote(dry, 2, None),
            await operator.canary(dry, 2, None, 0.1),
            await operator.shadow(dry, 2, None, 0.1),
        ]
        assert [plan.generation for plan in plans] == ["g1"] * 3

    _run(tmp_path, scenario)


def test_rollback_to_what_a_worker_could_not_load_is_refused(tmp_path: Path) -> None:
    """A fleet is not split unless an operator says so; the plan says who is not ready."""

    async def scenario(world: World) -> None:
        operator = world.operators[1]
        await operator.promote(ORDER, 2, None)
        world.fleets[1].failures[1, Target(1, "g1")] = "generation g1 is not in the store"
        plan = await operator.rollback(replace(ORDER, dry_run=True))
        assert plan.guard.refused
        assert "1/g1 is NOT READY everywhere: worker 1 of r1: failed" in plan.guard.reasons[0]
        with pytest.raises(GuardRefused, match=r"generation g1 is not in the store.*; force it"):
            await operator.rollback(ORDER)
        assert await world.history() == ["first", "promote", "activate"]

    _run(tmp_path, scenario)


def test_canary_is_prepared_shared_and_promoted(tmp_path: Path) -> None:
    """A canary's share grows without a load, its users stay, and promoting it ends it."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        outcome = await operator.canary(ORDER, 2, None, 0.05, False)
        assert outcome.after["canary"] == "2/g1 for 5 %"
        begun = await world.store.read()
        assert begun is not None
        assert begun.canary == Canary(SECOND, 0.05)
        assert (await operator.canary(ORDER, 2, None, 0.05, False)).result == "already"
        await operator.canary(ORDER, 2, None, 0.2, True)
        grown = await world.store.read()
        assert grown is not None
        assert (grown.canary, grown.salt) == (Canary(SECOND, 0.2, True), begun.salt)
        await operator.promote(ORDER, 2, None)
        actions = ["first", "canary", "start canary", "share", "promote", "activate"]
        assert await world.history() == actions
        ended = await world.store.read()
        assert ended is not None
        assert (ended.champion, ended.canary) == (SECOND, None)
        await operator.canary(ORDER, 3, None, 0.0, True)
        stopped = await operator.stop_canary(ORDER)
        assert stopped.before["canary"] == "3/g1 for testers"
        assert stopped.after["canary"] is None

    _run(tmp_path, scenario)


def test_canary_keeps_what_nobody_changes(tmp_path: Path) -> None:
    """Raising the share raises the share: no newer generation moves in, and testers stay."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        await operator.canary(ORDER, 2, "g1", 0.05, True)
        world.targets.newest = "g2"
        grown = await operator.canary(ORDER, 2, None, 0.2)
        assert grown.after["canary"] == "2/g1 for 20 % and testers"
        assert (await world.history())[-1] == "share"
        closed = await operator.canary(ORDER, 2, None, 0.2, False)
        assert closed.after["canary"] == "2/g1 for 20 %"
        plan = await operator.promote(replace(ORDER, dry_run=True), 2, None)
        assert plan.after["champion"] == "2/g1"
        moved = await operator.canary(ORDER, 2, "g2", 0.2)
        assert moved.after["canary"] == "2/g2 for 20 %"
        await operator.stop_canary(ORDER)
        begun = await operator.canary(ORDER, 3, None, 0.1)
        assert begun.after["canary"] == "3/g2 for 10 %"

    _run(tmp_path, scenario)


def test_shadow_keeps_its_generation(tmp_path: Path) -> None:
    """Another sample is no other model."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        await operator.shadow(ORDER, 2, None, 0.1)
        world.targets.newest = "g2"
        assert (await operator.shadow(ORDER, 2, None, 0.5)).after["shadow"] == "2/g1 on 50 %"

    _run(tmp_path, scenario)


def test_version_that_the_repository_lost_is_operated_on(tmp_path: Path) -> None:
    """What every worker holds needs no repository: another share, generation, or the same again."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        await operator.canary(ORDER, 2, None, 0.05)
        world.targets.versions.clear()
        for fleet in world.fleets:
            fleet.contracts[1] = "contract"
        assert (await operator.canary(ORDER, 2, None, 0.2)).result == "done"
        assert (await operator.promote(ORDER, 1, "g1")).result == "already"
        assert (await operator.promote(ORDER, 1, None)).result == "already"
        world.targets.newest = "g2"
        assert (await operator.promote(ORDER, 1, None)).after["champion"] == "1/g2"

    _run(tmp_path, scenario)


def test_canary_that_fails_on_a_worker_reaches_nobody(tmp_path: Path) -> None:
    """The share is given only once every worker can answer it."""

    async def scenario(world: World) -> None:
        world.fleets[0].failures[1, SECOND] = "no memory"
        with pytest.raises(NotConverged, match="worker 1 of r0: failed"):
            await world.operators[1].canary(ORDER, 2, None, 0.05, False)
        assert all(d.canary is None for fleet in world.fleets for d in fleet.pushed)

    _run(tmp_path, scenario)


def test_shadow_begins_and_ends_in_one_step(tmp_path: Path) -> None:
    """No worker loads a shadow, so nothing is waited for."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        assert (await operator.shadow(ORDER, 2, None, 0.1)).after["shadow"] == "2/g1 on 10 %"
        assert (await operator.shadow(ORDER, 2, None, 0.1)).result == "already"
        present = await world.store.read()
        assert present is not None
        assert present.shadow == Shadow(SECOND, 0.1)
        assert (await operator.stop_shadow(ORDER)).after["shadow"] is None

    _run(tmp_path, scenario)


def test_guard_stops_a_promotion_unless_it_is_forced(tmp_path: Path) -> None:
    """A refusal tells its reasons and writes nothing; an overruling stands in the history."""

    async def scenario(world: World) -> None:
        reasons = ("GAUC of low-activity users 0.61, the champion's 0.63",)
        world.guards.finding = Finding(True, reasons, {"low": {"candidate": 0.61}})
        with pytest.raises(GuardRefused, match="GAUC of low-activity users") as caught:
            await world.operators[0].promote(ORDER, 2, None)
        assert caught.value.members["guard"]["evidence"] == {"low": {"candidate": 0.61}}
        assert await world.history() == ["first"]
        plan = await world.operators[0].promote(Order("ann", "why", dry_run=True), 2, None)
        assert plan.guard.refused
        forced = Order("ann", "a bug in the evaluation", force=True)
        await world.operators[0].promote(forced, 2, None)
        (entry,) = await world.store.history(1)
        assert entry.change.forced
        assert entry.change.evidence["guard"]["reasons"] == list(reasons)

    _run(tmp_path, scenario)


def test_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    """Each order can be looked at first."""

    async def scenario(world: World) -> None:
        operator = world.operators[0]
        await operator.promote(ORDER, 2, None)
        dry = Order("ann", "why", dry_run=True)
        plans = [
            await operator.promote(dry, 3, None),
            await operator.canary(dry, 3, None, 0.1, False),
            await operator.shadow(dry, 3, None, 0.1),
            await operator.rollback(dry),
        ]
        assert [plan.result for plan in plans] == ["planned"] * 4
        assert [plan.after["champion"] for plan in plans] == ["3/g1", "2/g1", "2/g1", "1/g1"]
        assert plans[1].after["canary"] == "3/g1 for 10 %"
        assert all(verdict.ready for verdict in plans[3].verdicts)
        assert await world.history() == ["first", "promote", "activate"]

    _run(tmp_path, scenario)


def test_dry_run_says_no_to_what_is_refused(tmp_path: Path) -> None:
    """A plan beside somebody's candidate is the refusal that the order would be."""

    async def scenario(world: World) -> None:
        operator, dry = world.operators[0], replace(ORDER, dry_run=True)
        await world.store.change(
            1,
            replace(
                desired_state(2),
                candidate=Target(3, "g1"),
                change=Change("promote", "ann", "why", time.time()),
            ),
        )
        for order in (operator.promote(dry, 2, None), operator.canary(dry, 2, None, 0.1)):
            with pytest.raises(ChangeRefused, match=r"3/g1 is being prepared .* promote by ann"):
                await order
        joined = await operator.promote(dry, 3, None)
        assert joined.after["champion"] == "3/g1"

    _run(tmp_path, scenario)


def test_emptied_store_ends_no_promotion(tmp_path: Path) -> None:
    """The replicas put their copy back, and the promotion that was under way goes on."""

    async def scenario(world: World) -> None:
        for fleet in world.fleets:
            fleet.held = True
        promoting = asyncio.create_task(world.operators[0].promote(ORDER, 2, None))
        async with asyncio.timeout(20):
            while not all(f.pushed and f.pushed[-1].candidate for f in world.fleets):
                await asyncio.sleep(0.01)
        rmtree(tmp_path / "state")
        for fleet in world.fleets:
            fleet.held = False
            fleet.settle()
        assert (await promoting).after["champion"] == "2/g1"

    _run(tmp_path, scenario)


def test_store_away_at_the_switch_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment without the store between the verdicts and the switch leaves no candidate behind."""

    async def scenario(world: World) -> None:
        for fleet in world.fleets:
            fleet.held = True
        promoting = asyncio.create_task(world.operators[0].promote(ORDER, 2, None))
        async with asyncio.timeout(20):
            while not all(f.pushed and f.pushed[-1].candidate for f in world.fleets):
                await asyncio.sleep(0.01)
        change, failures = world.store.change, 3

        async def failing(revision: int, desired: Desired) -> bool:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StateUnavailable("killed")
            return await change(revision, desired)

        monkeypatch.setattr(world.store, "change", failing)
        for fleet in world.fleets:
            fleet.held = False
            fleet.settle()
        assert (await promoting).result == "done"
        assert failures < 0

    _run(tmp_path, scenario)


def test_lost_store_is_told_and_found_again(tmp_path: Path) -> None:
    """Without the store no order is accepted, and what was decided stays decided."""

    async def scenario(world: World) -> None:
        (tmp_path / "state").rename(tmp_path / "lost")
        (tmp_path / "state").write_text("")
        with pytest.raises(StateUnavailable):
            await world.operators[0].promote(ORDER, 2, None)
        (tmp_path / "state").unlink()
        (tmp_path / "lost").rename(tmp_path / "state")
        assert (await world.operators[0].promote(ORDER, 2, None)).result == "done"

    _run(tmp_path, scenario)


def test_target_that_does_not_exist_is_refused_before_anything(tmp_path: Path) -> None:
    """A typing mistake in a version costs nobody a load."""

    async def scenario(world: World) -> None:
        for order in (
            world.operators[0].promote(ORDER, 9, None),
            world.operators[0].canary(ORDER, 9, None, 0.1, False),
            world.operators[0].shadow(ORDER, 9, None, 0.1),
        ):
            with pytest.raises(LoadRefused, match="model version 9 is not in the repository"):
                await order
        assert await world.history() == ["first"]

    _run(tmp_path, scenario)


def test_switch_that_a_worker_does_not_follow_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order says that it holds, and who does not follow it yet: it never claims to be done."""
    monkeypatch.setattr(waiting, "FOLLOW_S", 0.5)

    async def scenario(world: World) -> None:
        await world.operators[0].promote(ORDER, 2, None)
        world.fleets[1].failures[1, Target(1, "g1")] = "its file is gone"
        with pytest.raises(NotConverged) as caught:
            await world.operators[1].rollback(replace(ORDER, force=True))
        (entry,) = await world.store.history(1)
        assert entry.change.forced
        assert "revision 4 holds, but not every worker follows it yet" in caught.value.detail
        assert "worker 1 of r1: failed (its file is gone)" in caught.value.detail

    _run(tmp_path, scenario)
