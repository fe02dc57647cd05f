"""Changing the shared document while its store is lost, emptied or away."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model.desired import Change, Desired, Shadow, Target
from service.comparison.counts import ComparisonReport
from service.control import agreement as waiting
from service.control.agreement import Agreement
from service.control.changes import activate, prepare, rollback, start_shadow
from service.control.convergence import COMPARER
from service.control.file_state import FileState
from service.control.local_copy import LocalCopy
from service.control.watch import Beginning, Identity, Watch
from service.errors import ChangeRefused, StateUnavailable
from service.lifecycle.states import State
from tests.control import desired_state, replica_state, target_state
from tests.fixtures.fleets import PlannedFleet

CHANGE = Change("promote", "ann", "why", 1.0)
SECOND = Target(2, "g1")


class One:
    """A replica whose watch runs only when a test says so."""

    def __init__(self, folder: Path) -> None:
        """Wire it.

        Args:
            folder: of everything it keeps.
        """
        self.place = folder / "state"
        self.store = FileState(self.place)
        copy = LocalCopy(folder / "copy", "state")
        beginning = Beginning(self._choose, None)
        self.watch = Watch(self.store, PlannedFleet(), copy, beginning, Identity("r1", "host"))
        self.agreement = Agreement(self.store, self.watch)

    def empty(self) -> None:
        """As a Redis that was killed and came back."""
        for path in self.place.rglob("*.json*"):
            path.unlink()

    async def _choose(self) -> Target:
        return Target(1, "g1")


def _run(folder: Path, scenario: Callable[[One], Awaitable[None]], *, watched: bool = True) -> None:
    async def run() -> None:
        one = One(folder)
        await one.store.change(0, desired_state())
        await one.watch.follow_once()
        watching = asyncio.create_task(one.watch.run()) if watched else None
        try:
            async with asyncio.timeout(30):
                await scenario(one)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(run())


def _prepared(desired: Desired) -> Desired:
    return prepare(desired, SECOND, CHANGE)


def _activated(desired: Desired) -> Desired:
    return desired if desired.champion == SECOND else activate(desired, SECOND, CHANGE)


def test_store_emptied_within_a_promotion_is_waited_for(tmp_path: Path) -> None:
    """The second step of a promotion finds the first one again, for a replica puts it back."""

    async def scenario(one: One) -> None:
        await one.agreement.change(_prepared)
        one.empty()
        _, after = await one.agreement.change(_activated)
        assert (after.revision, after.champion, after.candidate) == (3, SECOND, None)
        assert await one.store.read() == after

    _run(tmp_path, scenario)


def test_change_that_the_store_loses_at_once_holds(tmp_path: Path) -> None:
    """What an operator was told is done is put back, even if nobody had followed it yet."""

    async def scenario(one: One) -> None:
        _, after = await one.agreement.change(_prepared)
        one.empty()
        await one.store.change(0, desired_state())
        await one.watch.follow_once()
        assert await one.store.read() == after

    _run(tmp_path, scenario, watched=False)


def test_lost_document_that_nobody_puts_back_is_the_stores_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that there never was a desired state, nor is an old one changed."""
    monkeypatch.setattr(waiting, "PUT_BACK_S", 0.2)

    async def scenario(one: One) -> None:
        await one.agreement.change(_prepared)
        one.empty()
        with pytest.raises(StateUnavailable, match="has lost revision 2"):
            await one.agreement.change(_activated)
        await one.store.change(0, desired_state())
        with pytest.raises(StateUnavailable, match="has lost revision 2"):
            await one.agreement.present()

    _run(tmp_path, scenario, watched=False)


def test_replica_that_never_knew_a_document_says_that_there_is_none(tmp_path: Path) -> None:
    """Before the first document an order is refused, with the reason for its absence."""

    async def run() -> None:
        one = One(tmp_path)
        one.watch._following = "no generation fits"
        with pytest.raises(ChangeRefused, match="no desired state yet: no generation fits"):
            await one.agreement.present()

    asyncio.run(run())


def test_step_of_an_order_waits_for_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that restarts within a promotion costs time; a write it had made counts once."""

    async def scenario(one: One) -> None:
        await one.agreement.change(_prepared)
        write, writes = one.store.change, 0

        async def doubtful(expected_revision: int, desired: Desired) -> bool:
            nonlocal writes
            writes += 1
            await write(expected_revision, desired)
            raise StateUnavailable("the connection was lost")

        monkeypatch.setattr(one.store, "change", doubtful)
        _, after = await one.agreement.insist(_activated)
        assert (after.revision, after.champion, writes) == (3, SECOND, 1)

    _run(tmp_path, scenario, watched=False)


def test_step_that_must_not_be_made_twice_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback whose answer was lost is told as such, and not undone by a second one."""

    async def scenario(one: One) -> None:
        await one.store.change(1, replace(desired_state(2, version=2), previous=Target(1, "g1")))
        write = one.store.change

        async def doubtful(expected_revision: int, desired: Desired) -> bool:
            await write(expected_revision, desired)
            raise StateUnavailable("the connection was lost")

        monkeypatch.setattr(one.store, "change", doubtful)
        with pytest.raises(StateUnavailable, match="connection was lost"):
            await one.agreement.change(lambda desired: rollback(desired, CHANGE))
        present = await one.store.read()
        assert present is not None
        assert (present.revision, present.champion) == (3, Target(1, "g1"))

    _run(tmp_path, scenario, watched=False)


def test_emptied_store_hides_no_replica_from_a_promotion(tmp_path: Path) -> None:
    """A candidate is not called ready while a replica's report is missing from a lost store."""

    async def scenario(one: One) -> None:
        await one.store.report(replica_state("r2"), 5.0)
        assert [r.replica for r in await one.agreement.replicas()] == ["r1", "r2"]
        one.empty()
        assert [r.replica for r in await one.agreement.replicas()] == ["r1", "r2"]

    _run(tmp_path, scenario, watched=False)


def _findings(state: State, reason: str | None = None) -> dict[str, Any]:
    told = (target_state(SECOND, state, reason), target_state(Target(1, "g1"), "active"))
    report = ComparisonReport(challenger="2/g1", champion="1/g1", since_s=1.0, targets=told)
    return {"shadow": msgspec.to_builtins(report)}


def test_shadow_is_waited_for_until_every_comparison_has_settled_it(tmp_path: Path) -> None:
    """The order for a shadow ends when it is known how the shadow stands, on each replica."""

    async def scenario(one: One) -> None:
        shadow = Shadow(SECOND, 0.1)
        _, after = await one.agreement.change(lambda desired: start_shadow(desired, shadow, CHANGE))
        other = replica_state("r2")
        await one.store.report(
            msgspec.structs.replace(other, findings=_findings("failed", "no memory")), 20.0
        )
        one.watch.findings = lambda: _findings("loading")
        waited = asyncio.create_task(one.agreement.until_compared(after, shadow))
        await asyncio.sleep(0.3)
        assert not waited.done()
        one.watch.findings = lambda: _findings("ready")
        own, others = await waited
        assert (own.replica, own.worker, own.state) == ("r1", COMPARER, "ready")
        assert str(others) == "the comparison of r2: failed (no memory)"

    _run(tmp_path, scenario)


def test_shadow_that_is_still_loading_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a slow comparison for long, and nobody is told that it runs."""
    monkeypatch.setattr(waiting, "COMPARE_S", 0.2)

    async def scenario(one: One) -> None:
        shadow = Shadow(SECOND, 0.1)
        _, after = await one.agreement.change(lambda desired: start_shadow(desired, shadow, CHANGE))
        (said,) = await one.agreement.until_compared(after, shadow)
        assert (said.state, said.reason) == ("absent", "its comparison has not begun")

    _run(tmp_path, scenario)
