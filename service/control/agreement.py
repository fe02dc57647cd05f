"""Agreement: changing the shared document, and waiting until every replica has followed it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from model.desired import Desired, Shadow, Target
from service.control.comparisons import shadow_verdicts
from service.control.convergence import Verdict, complaints, followed, settled, verdicts
from service.control.state_store import StateStore
from service.control.watch import Watch
from service.errors import ChangeRefused, NotConverged, StateUnavailable
from service.lifecycle.states import SETTLED, ReplicaState

LOOK_S = 0.1
"""Between two looks at the reports while waiting."""
FOLLOW_S = 10.0
"""Time for workers to take up what is loaded already."""
FINISH_S = 8.0
"""For a state store that is away for a moment, while an order is half done."""
COMPARE_S = 10.0
"""Time for a shadow to be loaded before an order answers without waiting for it."""
PUT_BACK_S = 5.0
"""Time for an emptied store to get its document back."""
_ATTEMPTS = 100

_Answer = TypeVar("_Answer")

Step = Callable[[Desired], Desired]
"""From the present document to the next; raises ChangeRefused, or returns the same one."""


class Agreement:
    """Changes the document for one replica's operators, and watches all replicas follow."""

    def __init__(self, store: StateStore, watch: Watch) -> None:
        """Join the parts.

        Args:
            store: holds the document and the reports.
            watch: follows for this replica; woken after each change.
        """
        self._store = store
        self._watch = watch

    async def present(self) -> Desired:
        """The document that holds now; a store that has lost it is given time to get it back.

        Raises:
            ChangeRefused: when there is none yet.
            StateUnavailable: when it cannot be read, or is not back yet.
        """
        give_up_s = time.monotonic() + PUT_BACK_S
        while True:
            known = self._watch.known
            desired = await self._store.read()
            if desired is not None and (known is None or desired.revision >= known.revision):
                return desired
            if known is None:
                why = self._watch.trouble or "a replica writes the first one within a second"
                raise ChangeRefused(f"there is no desired state yet: {why}")
            if time.monotonic() > give_up_s:
                raise StateUnavailable(
                    f"the state store has lost revision {known.revision}, and it is not put back "
                    "yet; try again, or see this replica's log"
                )
            self._watch.wake()
            await asyncio.sleep(LOOK_S)

    async def change(self, step: Step) -> tuple[Desired, Desired]:
        """Make one step, again wherever somebody else was quicker.

        Args:
            step: makes the next document from the present one; the same one: nothing to do.

        Returns:
            The documents before and after.

        Raises:
            ChangeRefused: as the step.
            StateUnavailable: when the store cannot be reached; the change may hold all the same.
        """
        for _ in range(_ATTEMPTS):
            before = await self.present()
            after = step(before)
            if after == before:
                return before, after
            if await self._store.change(before.revision, after):
                self._watch.follow(after)
                return before, after
        raise ChangeRefused(f"others changed the desired state {_ATTEMPTS} times meanwhile")

    async def insist(self, step: Step) -> tuple[Desired, Desired]:
        """As ``change``, and a store that is away for a moment is waited for.

        Args:
            step: returns the same document where it has been made already, for it is made again
                where the store did not say whether it was.
        """
        return await _patiently(lambda: self.change(step), FINISH_S)

    async def replicas(self, wait_s: float = 0.0) -> Sequence[ReplicaState]:
        """Every live replica; this one as it is now, not as it last reported.

        Args:
            wait_s: how long a store that is away is waited for.

        Raises:
            StateUnavailable: when the reports cannot be read.
        """
        reported = await _patiently(self._store.replicas, wait_s)
        own = self._watch.state()
        others = [r for r in self._watch.roll.call(reported) if r.replica != own.replica]
        return sorted([own, *others], key=lambda replica: replica.replica)

    async def until_ready(
        self, prepared: Desired, target: Target, within_s: float
    ) -> tuple[Desired, tuple[Verdict, ...]]:
        """Wait until every worker has settled the candidate, whatever it says of it.

        Args:
            prepared: the document that made the target candidate.
            target: the candidate.
            within_s: how long to wait.

        Returns:
            The document that holds at the end, whose candidate may be another one by then, and
            what each worker said of the target.

        Raises:
            NotConverged: when the time is up, with the verdicts so far.
        """
        give_up_s = time.monotonic() + within_s
        while True:
            desired, replicas = await self._look(prepared, give_up_s)
            if desired.candidate != target or settled(replicas, prepared.revision):
                return desired, verdicts(replicas, target)
            if time.monotonic() > give_up_s:
                raise not_converged(
                    f"{target} was not ready everywhere within {within_s:g} s",
                    verdicts(replicas, target),
                )
            await asyncio.sleep(LOOK_S)

    async def until_followed(self, desired: Desired, target: Target) -> tuple[Verdict, ...]:
        """Wait until every worker answers as a document says, or as a later one does.

        Args:
            desired: the document.
            target: what the verdicts are to be about.

        Raises:
            NotConverged: when the time is up; the document holds all the same.
        """
        give_up_s = time.monotonic() + FOLLOW_S
        while True:
            present, replicas = await self._look(desired, give_up_s)
            if followed(replicas, present):
                return verdicts(replicas, target)
            if time.monotonic() > give_up_s:
                raise not_converged(
                    f"revision {desired.revision} holds, but not every worker follows it yet",
                    verdicts(replicas, target),
                )
            await asyncio.sleep(LOOK_S)

    async def until_compared(self, desired: Desired, shadow: Shadow) -> tuple[Verdict, ...]:
        """Wait until each replica's comparison has settled a shadow, for a while.

        Args:
            desired: the document that names it.
            shadow: the shadow.

        Returns:
            How it stands on each replica, ready, failed or on its way.

        Raises:
            StateUnavailable: when the reports cannot be read.
        """
        give_up_s = time.monotonic() + COMPARE_S
        while True:
            present, replicas = await self._look(desired, give_up_s)
            said = shadow_verdicts(replicas, shadow)
            over = time.monotonic() > give_up_s or present.shadow != shadow
            if over or all(verdict.state in SETTLED for verdict in said):
                return said
            await asyncio.sleep(LOOK_S)

    async def _look(
        self, last: Desired, give_up_s: float
    ) -> tuple[Desired, Sequence[ReplicaState]]:
        """The document and the reports; a store that is away for a moment is waited for.

        What a store has lost still holds: it is put back.
        """
        found = await _patiently(self._store.read, give_up_s - time.monotonic())
        if found is None or found.revision < last.revision:
            found = last
        return found, await self.replicas(give_up_s - time.monotonic())


async def _patiently(call: Callable[[], Awaitable[_Answer]], wait_s: float) -> _Answer:
    """What a call to the store answers, once the store can be reached."""
    give_up_s = time.monotonic() + wait_s
    while True:
        try:
            return await call()
        except StateUnavailable:
            if time.monotonic() >= give_up_s:
                raise
        await asyncio.sleep(LOOK_S)


def not_converged(detail: str, said: Sequence[Verdict]) -> NotConverged:
    """The refusal, with every verdict as a member and those that are not ready in its words."""
    behind = complaints(said)
    told = [vars(verdict) for verdict in said]
    return NotConverged(f"{detail}: {behind}" if behind else detail, verdicts=told)
