"""Orders of operators over two replicas: rollbacks, canaries, shadows, and dry runs of each."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model.desired import Canary, Change, Shadow, Target
from service.control.orders import Order
from service.errors import (
    ChangeRefused,
    GuardRefused,
    NotConverged,
    StateUnavailable,
)
from tests.control import desired_state
from tests.fixtures.operators import ORDER, SECOND, World

pytestmark = pytest.mark.anyio


async def test_rollback_is_one_step_to_what_is_loaded(replicas: World) -> None:
    """Going back prepares nothing; who names that rollback goes forward again."""
    await replicas.operators[0].promote(ORDER, 2, None)
    outcome = await replicas.operators[1].rollback(Order("bob", "orders fell"))
    assert (outcome.after["champion"], outcome.after["previous"]) == ("1/g1", "2/g1")
    assert await replicas.history() == ["first", "promote", "activate", "rollback"]
    again = await replicas.operators[0].rollback(replace(ORDER, revision=outcome.revision))
    assert again.after["champion"] == "2/g1"


async def test_two_rollbacks_at_once_are_one(replicas: World) -> None:
    """Two operators who see one fault do not bring the bad version back between them."""
    await replicas.operators[0].promote(ORDER, 2, None)
    outcomes = await asyncio.gather(*(o.rollback(ORDER) for o in replicas.operators))
    late = await replicas.operators[1].rollback(ORDER)
    assert sorted(outcome.result for outcome in outcomes) == ["already", "done"]
    assert late.result == "already"
    assert late.after["champion"] == "1/g1"
    assert await replicas.history() == ["first", "promote", "activate", "rollback"]
    plan = await replicas.operators[1].rollback(replace(ORDER, dry_run=True))
    assert plan.result == "already"


async def test_rollback_after_a_rollback_and_another_order_changes_nothing(replicas: World) -> None:
    """Whatever was ordered in between, the version that was rolled back from stays away."""
    operator = replicas.operators[0]
    await operator.promote(ORDER, 2, None)
    await operator.rollback(ORDER)
    await operator.shadow(ORDER, 3, None, 0.1)
    assert (await operator.rollback(ORDER)).result == "already"
    await operator.promote(ORDER, 3, None)
    assert (await operator.rollback(ORDER)).after["champion"] == "1/g1"


async def test_plan_that_no_longer_holds_is_not_carried_out(replicas: World) -> None:
    """What was agreed to is done, or nothing: never what it has turned into meanwhile."""
    operator = replicas.operators[0]
    await operator.promote(ORDER, 2, None)
    plan = await operator.rollback(replace(ORDER, dry_run=True))
    agreed = replace(ORDER, revision=plan.revision)
    await replicas.operators[1].rollback(Order("bob", "orders fell"))
    for order in (
        operator.rollback(agreed),
        operator.promote(agreed, 3, None),
        operator.canary(agreed, 3, None, 0.1),
        operator.shadow(agreed, 3, None, 0.1),
        operator.shadow(replace(agreed, dry_run=True), 3, None, 0.1),
    ):
        with pytest.raises(ChangeRefused, match=r"revision 4 holds: rollback by bob: orders f"):
            await order
    assert await replicas.history() == ["first", "promote", "activate", "rollback"]


async def test_plan_names_the_generation_it_chose(replicas: World) -> None:
    """Whoever agrees to a plan can ask for just that, whatever is published meanwhile."""
    operator, dry = replicas.operators[0], replace(ORDER, dry_run=True)
    plans = [
        await operator.promote(dry, 2, None),
        await operator.canary(dry, 2, None, 0.1),
        await operator.shadow(dry, 2, None, 0.1),
    ]
    assert [plan.generation for plan in plans] == ["g1"] * 3


async def test_rollback_to_what_a_worker_could_not_load_is_refused(replicas: World) -> None:
    """A fleet is not split unless an operator says so; the plan says who is not ready."""
    operator = replicas.operators[1]
    await operator.promote(ORDER, 2, None)
    replicas.fleets[1].failures[1, Target(1, "g1")] = "generation g1 is not in the store"
    plan = await operator.rollback(replace(ORDER, dry_run=True))
    assert plan.guard.refused
    assert "1/g1 is NOT READY everywhere: worker 1 of r1: failed" in plan.guard.reasons[0]
    with pytest.raises(GuardRefused, match=r"generation g1 is not in the store.*; force it"):
        await operator.rollback(ORDER)
    assert await replicas.history() == ["first", "promote", "activate"]


async def test_canary_is_prepared_shared_and_promoted(replicas: World) -> None:
    """A canary's share grows without a load, its users stay, and promoting it ends it."""
    operator = replicas.operators[0]
    outcome = await operator.canary(ORDER, 2, None, 0.05, False)
    assert outcome.after["canary"] == "2/g1 for 5 %"
    begun = await replicas.store.read()
    assert begun is not None
    assert begun.canary == Canary(SECOND, 0.05)
    assert (await operator.canary(ORDER, 2, None, 0.05, False)).result == "already"
    await operator.canary(ORDER, 2, None, 0.2, True)
    grown = await replicas.store.read()
    assert grown is not None
    assert (grown.canary, grown.salt) == (Canary(SECOND, 0.2, True), begun.salt)
    await operator.promote(ORDER, 2, None)
    actions = ["first", "canary", "start canary", "share", "promote", "activate"]
    assert await replicas.history() == actions
    ended = await replicas.store.read()
    assert ended is not None
    assert (ended.champion, ended.canary) == (SECOND, None)
    await operator.canary(ORDER, 3, None, 0.0, True)
    stopped = await operator.stop_canary(ORDER)
    assert stopped.before["canary"] == "3/g1 for testers"
    assert stopped.after["canary"] is None


async def test_canary_keeps_what_nobody_changes(replicas: World) -> None:
    """Raising the share raises the share: no newer generation moves in, and testers stay."""
    operator = replicas.operators[0]
    await operator.canary(ORDER, 2, "g1", 0.05, True)
    replicas.targets.newest = "g2"
    grown = await operator.canary(ORDER, 2, None, 0.2)
    assert grown.after["canary"] == "2/g1 for 20 % and testers"
    assert (await replicas.history())[-1] == "share"
    closed = await operator.canary(ORDER, 2, None, testers=False)
    assert closed.after["canary"] == "2/g1 for 20 %"
    opened = await operator.canary(ORDER, 2, None, testers=True)
    assert opened.after["canary"] == "2/g1 for 20 % and testers"
    await operator.canary(ORDER, 2, None, testers=False)
    with pytest.raises(ChangeRefused, match="nobody would reach 2/g1"):
        await operator.canary(ORDER, 2, None, 0.0)
    plan = await operator.promote(replace(ORDER, dry_run=True), 2, None)
    assert plan.after["champion"] == "2/g1"
    moved = await operator.canary(ORDER, 2, "g2", 0.2)
    assert moved.after["canary"] == "2/g2 for 20 %"
    await operator.stop_canary(ORDER)
    begun = await operator.canary(ORDER, 3, None, 0.1)
    assert begun.after["canary"] == "3/g2 for 10 %"


async def test_promotion_of_the_canarys_model_ends_the_canary(replicas: World) -> None:
    """Nobody stays behind on older records once the model is everybody's."""
    operator = replicas.operators[0]
    await operator.canary(ORDER, 2, "g1", 0.2)
    promoted = await operator.promote(ORDER, 2, "g2")
    assert (promoted.after["champion"], promoted.after["canary"]) == ("2/g2", None)


async def test_share_of_a_canary_that_a_worker_lost_is_told(
    replicas: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdicts are about what was ordered, so that the reason is among them."""
    monkeypatch.setattr("service.control.agreement.FOLLOW_S", 0.5)
    operator = replicas.operators[0]
    await operator.canary(ORDER, 2, None, 0.2)
    replicas.fleets[0].failures[1, SECOND] = "generation g1 is gone"
    with pytest.raises(NotConverged, match="generation g1 is gone"):
        await operator.canary(ORDER, 2, None, 0.6)


async def test_shadow_keeps_its_generation(replicas: World) -> None:
    """Another sample is no other model."""
    operator = replicas.operators[0]
    await operator.shadow(ORDER, 2, None, 0.1)
    replicas.targets.newest = "g2"
    assert (await operator.shadow(ORDER, 2, None, 0.5)).after["shadow"] == "2/g1 on 50 %"


async def test_version_that_the_repository_lost_is_operated_on(replicas: World) -> None:
    """What every worker holds needs no repository: another share, generation, or the same again."""
    operator = replicas.operators[0]
    await operator.canary(ORDER, 2, None, 0.05)
    replicas.targets.versions.clear()
    for fleet in replicas.fleets:
        fleet.contracts[1] = "contract"
    assert (await operator.canary(ORDER, 2, None, 0.2)).result == "done"
    assert (await operator.promote(ORDER, 1, "g1")).result == "already"
    assert (await operator.promote(ORDER, 1, None)).result == "already"
    replicas.targets.newest = "g2"
    assert (await operator.promote(ORDER, 1, None)).after["champion"] == "1/g2"


async def test_canary_that_fails_on_a_worker_reaches_nobody(replicas: World) -> None:
    """The share is given only once every worker can answer it."""
    replicas.fleets[0].failures[1, SECOND] = "no memory"
    with pytest.raises(NotConverged, match="worker 1 of r0: failed"):
        await replicas.operators[1].canary(ORDER, 2, None, 0.05, False)
    assert all(d.canary is None for fleet in replicas.fleets for d in fleet.pushed)


async def test_shadow_begins_and_ends_in_one_step(replicas: World) -> None:
    """No worker loads a shadow, so nothing is waited for."""
    operator = replicas.operators[0]
    assert (await operator.shadow(ORDER, 2, None, 0.1)).after["shadow"] == "2/g1 on 10 %"
    assert (await operator.shadow(ORDER, 2, None, 0.1)).result == "already"
    present = await replicas.store.read()
    assert present is not None
    assert present.shadow == Shadow(SECOND, 0.1)
    assert (await operator.stop_shadow(ORDER)).after["shadow"] is None


async def test_dry_run_tells_and_changes_nothing(replicas: World) -> None:
    """Each order can be looked at first."""
    operator = replicas.operators[0]
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
    assert await replicas.history() == ["first", "promote", "activate"]


async def test_dry_run_says_no_to_what_is_refused(replicas: World) -> None:
    """A plan beside somebody's candidate is the refusal that the order would be."""
    operator, dry = replicas.operators[0], replace(ORDER, dry_run=True)
    await replicas.store.change(
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


async def test_lost_store_is_told_and_found_again(replicas: World, tmp_path: Path) -> None:
    """Without the store no order is accepted, and what was decided stays decided."""
    (tmp_path / "state").rename(tmp_path / "lost")
    (tmp_path / "state").write_text("")
    with pytest.raises(StateUnavailable):
        await replicas.operators[0].promote(ORDER, 2, None)
    (tmp_path / "state").unlink()
    (tmp_path / "lost").rename(tmp_path / "state")
    assert (await replicas.operators[0].promote(ORDER, 2, None)).result == "done"
