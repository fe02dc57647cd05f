"""Agreement: changing the shared document, and waiting until every replica has followed it."""

import asyncio
import time
from collections.abc import Callable, Sequence

from model.desired import Desired, Target
from service.control.convergence import Verdict, complaints, followed, settled, verdicts
from service.control.state_store import StateStore
from service.control.watch import Watch
from service.errors import ChangeRefused, NotConverged, StateUnavailable
from service.lifecycle.states import ReplicaState

LOOK_S = 0.1
"""Between two looks at the reports while waiting."""
FOLLOW_S = 10.0
"""Time for workers to take up what is loaded already."""
_ATTEMPTS = 100

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
        """The document that holds now.

        Raises:
            ChangeRefused: when there is none yet.
            StateUnavailable: when it cannot be read.
        """
        desired = await self._store.read()
        if desired is None:
            why = self._watch.trouble or "a replica writes the first one within a second"
            raise ChangeRefused(f"there is no desired state yet: {why}")
        return desired

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
            if after == before or await self._store.change(before.revision, after):
                self._watch.wake()
                return before, after
        raise ChangeRefused(f"others changed the desired state {_ATTEMPTS} times meanwhile")

    async def replicas(self) -> Sequence[ReplicaState]:
        """Every live replica; this one as it is now, not as it last reported."""
        own = self._watch.state()
        others = [r for r in await self._store.replicas() if r.replica != own.replica]
        return sorted([own, *others], key=lambda replica: replica.replica)

    async def until_ready(self, prepared: Desired, target: Target, within_s: float) -> Desired:
        """Wait until every worker has settled the candidate, whatever it says of it.

        Args:
            prepared: the document that made the target candidate.
            target: the candidate.
            within_s: how long to wait.

        Returns:
            The document that holds at the end; its candidate may be another one by then.

        Raises:
            NotConverged: when the time is up, with the verdicts so far.
        """
        give_up_s = time.monotonic() + within_s
        while True:
            desired, replicas = await self._look(prepared, give_up_s)
            if desired.candidate != target or settled(replicas, prepared.revision):
                return desired
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

    async def _look(
        self, last: Desired, give_up_s: float
    ) -> tuple[Desired, Sequence[ReplicaState]]:
        """The document and the reports; a store that is away for a moment is waited for."""
        while True:
            try:
                return await self._store.read() or last, await self.replicas()
            except StateUnavailable:
                if time.monotonic() > give_up_s:
                    raise
            await asyncio.sleep(LOOK_S)


def not_converged(detail: str, said: Sequence[Verdict]) -> NotConverged:
    """The refusal, with every verdict as a member and those that are not ready in its words."""
    behind = complaints(said)
    told = [vars(verdict) for verdict in said]
    return NotConverged(f"{detail}: {behind}" if behind else detail, verdicts=told)
