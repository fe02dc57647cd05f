"""Promotions over two replicas: prepared everywhere, then switched, or withdrawn."""

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest

from model.desired import Desired, Target
from service.control import agreement as waiting
from service.control.finding import Finding
from service.control.orders import Order, Outcome
from service.errors import (
    ChangeRefused,
    GuardRefused,
    LoadRefused,
    NotConverged,
    StateUnavailable,
)
from tests.fixtures.lifecycles import until
from tests.fixtures.operators import ORDER, SECOND, World

pytestmark = pytest.mark.anyio


async def test_promotion_prepares_everywhere_and_then_switches(replicas: World) -> None:
    """Every worker is asked before any user is answered; the history says what each one said."""
    outcome = await replicas.operators[0].promote(ORDER, 2, None)
    assert outcome.result == "done"
    assert outcome.before["champion"] == "1/g1"
    assert (outcome.after["champion"], outcome.after["previous"]) == ("2/g1", "1/g1")
    assert len(outcome.verdicts) == 4
    assert all(verdict.ready for verdict in outcome.verdicts)
    assert await replicas.history() == ["first", "promote", "activate"]
    for fleet in replicas.fleets:
        roles = [(d.candidate, d.champion.version) for d in fleet.pushed]
        assert roles == [(None, 1), (SECOND, 1), (None, 2)]
    (entry,) = await replicas.store.history(1)
    assert (entry.change.who, entry.change.why) == (ORDER.who, ORDER.why)
    assert entry.change.evidence["digests"] == ["digest 2"]
    assert entry.change.evidence["workers"] == {"ready": 4}


async def test_activated_bundles_are_pinned_as_long_as_they_are_named(replicas: World) -> None:
    """The document says which bundle a version number means, for every worker that begins anew."""
    operator = replicas.operators[0]
    for version, named in ((2, (1, 2)), (3, (2, 3))):
        await operator.promote(ORDER, version, None)
        present = await replicas.store.read()
        assert present is not None
        assert present.bundles == {number: f"digest {number}" for number in named}
    await operator.promote(ORDER, 2, None)
    await operator.promote(ORDER, 1, None)
    present = await replicas.store.read()
    assert present is not None
    assert sorted(present.bundles) == [1, 2]


async def test_worker_that_fails_keeps_the_version_from_everybody(replicas: World) -> None:
    """One failure of four withdraws the candidate, and the answer holds each worker's verdict."""
    replicas.fleets[1].failures[0, SECOND] = "golden request 3: group_logit 1, expected 2"
    with pytest.raises(NotConverged) as caught:
        await replicas.operators[0].promote(ORDER, 2, None)
    assert "worker 0 of r1: failed (golden request 3" in caught.value.detail
    assert "withdrawn, and 1/g1 serves as before" in caught.value.detail
    states = [verdict["state"] for verdict in caught.value.members["verdicts"]]
    assert states == ["ready", "ready", "failed", "ready"]
    assert await replicas.history() == ["first", "promote", "withdraw"]
    (entry,) = await replicas.store.history(1)
    assert "golden request 3" in entry.change.evidence["refused"]
    assert entry.change.evidence["workers"] == {"ready": 3, "failed": 1}
    present = await replicas.store.read()
    assert present is not None
    assert (present.champion, present.candidate) == (Target(1, "g1"), None)


async def test_worker_that_never_settles_is_named_after_the_time(replicas: World) -> None:
    """A promotion ends in the time it was given, and says who was not ready."""
    replicas.fleets[1].held = True
    with pytest.raises(NotConverged) as caught:
        await replicas.operators[0].promote(Order("ann", "why", within_s=0.5), 2, None)
    assert "2/g1 was not ready everywhere within 0.5 s" in caught.value.detail
    assert "worker 1 of r1: absent" in caught.value.detail
    assert await replicas.history() == ["first", "promote", "withdraw"]


async def test_different_bundles_under_one_version_are_refused(replicas: World) -> None:
    """Replicas that read different repositories are found before they answer differently."""
    replicas.fleets[1].digests[1, SECOND] = "another digest"
    with pytest.raises(NotConverged, match="workers loaded different bundles as 2/g1"):
        await replicas.operators[0].promote(ORDER, 2, None)


@pytest.fixture
def brief_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that says nothing is given up after a second and a half."""
    monkeypatch.setattr("service.control.watch.REPORT_LIFE_S", 1.5)


async def test_dead_replica_drops_out_of_a_promotion(brief_reports: None, replicas: World) -> None:
    """A replica that dies meanwhile is waited for until its report expires, not for ever."""
    replicas.fleets[1].held = True
    replicas.watching[1].cancel()
    outcome = await replicas.operators[0].promote(ORDER, 2, None)
    assert outcome.result == "done"
    assert {verdict.replica for verdict in outcome.verdicts} == {"r0"}


async def test_promoting_the_champion_says_so(replicas: World) -> None:
    """An order given twice is carried out once."""
    assert (await replicas.operators[0].promote(ORDER, 1, None)).result == "already"
    await replicas.operators[0].promote(ORDER, 2, None)
    assert (await replicas.operators[1].promote(ORDER, 2, None)).result == "already"
    assert await replicas.history() == ["first", "promote", "activate"]


async def test_same_order_on_two_replicas_at_once_is_one_promotion(replicas: World) -> None:
    """Whoever comes second joins the first, and both get the verdicts."""
    outcomes = await asyncio.gather(
        *(operator.promote(ORDER, 2, None) for operator in replicas.operators)
    )
    assert {outcome.after["champion"] for outcome in outcomes} == {"2/g1"}
    assert await replicas.history() == ["first", "promote", "activate"]


async def test_second_promotion_waits_for_the_first(replicas: World) -> None:
    """Two versions are never prepared at once; the second operator learns whose turn it is."""
    for fleet in replicas.fleets:
        fleet.held = True
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(_refused(replicas.operators[0].promote(ORDER, 2, None)))
        await until(lambda: any(f.pushed[-1].candidate for f in replicas.fleets))
        with pytest.raises(ChangeRefused, match=r"2/g1 is being prepared .* promote by ann@host"):
            await replicas.operators[1].promote(Order("bob", "why"), 3, None)
        withdrawn = tasks.create_task(replicas.operators[1].withdraw(Order("bob", "the wrong one")))
        await until(lambda: all(f.pushed[-1].candidate is None for f in replicas.fleets))
        for fleet in replicas.fleets:
            fleet.settle()
    assert withdrawn.result().after["candidate"] is None
    assert re.search(r"no longer the candidate.*withdraw by bob: the wr", first.result())


async def _refused(order: Awaitable[object]) -> str:
    with pytest.raises(ChangeRefused) as caught:
        await order
    return caught.value.detail


async def test_guard_stops_a_promotion_unless_it_is_forced(replicas: World) -> None:
    """A refusal tells its reasons and writes nothing; an overruling stands in the history."""
    reasons = ("GAUC of low-activity users 0.61, the champion's 0.63",)
    replicas.guards.finding = Finding(True, reasons, {"low": {"candidate": 0.61}})
    with pytest.raises(GuardRefused, match="GAUC of low-activity users") as caught:
        await replicas.operators[0].promote(ORDER, 2, None)
    assert caught.value.members["guard"]["evidence"] == {"low": {"candidate": 0.61}}
    assert await replicas.history() == ["first"]
    plan = await replicas.operators[0].promote(Order("ann", "why", dry_run=True), 2, None)
    assert plan.guard.refused
    forced = Order("ann", "a bug in the evaluation", force=True)
    await replicas.operators[0].promote(forced, 2, None)
    (entry,) = await replicas.store.history(1)
    assert entry.change.forced
    assert entry.change.evidence["guard"]["reasons"] == list(reasons)


async def _held_promotion(replicas: World) -> "asyncio.Task[Outcome]":
    """A promotion that every worker has heard of and none has settled."""
    for fleet in replicas.fleets:
        fleet.held = True
    promoting = asyncio.create_task(replicas.operators[0].promote(ORDER, 2, None))
    await until(lambda: all(f.pushed and f.pushed[-1].candidate for f in replicas.fleets))
    return promoting


async def test_emptied_store_ends_no_promotion(replicas: World, tmp_path: Path) -> None:
    """The replicas put their copy back, and the promotion that was under way goes on."""
    promoting = await _held_promotion(replicas)
    rmtree(tmp_path / "state")
    for fleet in replicas.fleets:
        fleet.held = False
        fleet.settle()
    assert (await promoting).after["champion"] == "2/g1"


async def test_store_away_at_the_switch_is_waited_for(
    replicas: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment without the store between the verdicts and the switch leaves no candidate behind."""
    promoting = await _held_promotion(replicas)
    change, failures = replicas.store.change, 3

    async def failing(revision: int, desired: Desired) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StateUnavailable("killed")
        return await change(revision, desired)

    monkeypatch.setattr(replicas.store, "change", failing)
    for fleet in replicas.fleets:
        fleet.held = False
        fleet.settle()
    assert (await promoting).result == "done"
    assert failures < 0


async def test_target_that_does_not_exist_is_refused_before_anything(replicas: World) -> None:
    """A typing mistake in a version costs nobody a load."""
    for order in (
        replicas.operators[0].promote(ORDER, 9, None),
        replicas.operators[0].canary(ORDER, 9, None, 0.1, False),
        replicas.operators[0].shadow(ORDER, 9, None, 0.1),
    ):
        with pytest.raises(LoadRefused, match="model version 9 is not in the repository"):
            await order
    assert await replicas.history() == ["first"]


async def test_switch_that_a_worker_does_not_follow_is_told(
    replicas: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order says that it holds, and who does not follow it yet: it never claims to be done."""
    monkeypatch.setattr(waiting, "FOLLOW_S", 0.5)
    await replicas.operators[0].promote(ORDER, 2, None)
    replicas.fleets[1].failures[1, Target(1, "g1")] = "its file is gone"
    with pytest.raises(NotConverged) as caught:
        await replicas.operators[1].rollback(replace(ORDER, force=True))
    (entry,) = await replicas.store.history(1)
    assert entry.change.forced
    assert "revision 4 holds, but not every worker follows it yet" in caught.value.detail
    assert "worker 1 of r1: failed (its file is gone)" in caught.value.detail
