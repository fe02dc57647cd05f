"""The state store: what the control plane asks of whatever holds the desired state."""

from collections.abc import Sequence
from typing import Protocol

from model.desired import BadDesired, Desired
from service.lifecycle.states import ReplicaState

CALL_TIMEOUT_S = 2.0
"""Time for one call; nothing waits longer for a store that does not answer."""
KEPT_REVISIONS = 10_000
"""Entries of the history at least."""
UNREADABLE = (ValueError, RecursionError)
"""What decoding a damaged lease or report raises, where its letters are damaged, too."""
REPORT_COMES_BACK = "its replica writes it again within seconds, if it runs this release"
"""Why a damaged report may be removed."""


class StateStore(Protocol):
    """One desired state with its history, and what replicas say of themselves.

    Every call ends within ``CALL_TIMEOUT_S`` and raises StateUnavailable when the store cannot be
    reached or holds something unreadable. A change that raises may have been made all the same.
    """

    async def read(self) -> Desired | None:
        """The present document; None: the store holds none."""
        ...

    async def change(self, expected_revision: int, desired: Desired) -> bool:
        """Write a document and its entry in the history, both or neither.

        Args:
            expected_revision: what the present document must have; 0: there must be none.
            desired: the new document; its ``change`` says who, when and why.

        Returns:
            Whether it was written; False when another revision stands there.
        """
        ...

    async def history(self, limit: int) -> Sequence[Desired]:
        """The last revisions, newest first."""
        ...

    async def report(self, state: ReplicaState, life_s: float) -> None:
        """Say how a replica stands; forgotten after ``life_s`` unless said again."""
        ...

    async def replicas(self) -> Sequence[ReplicaState]:
        """Reports that are not yet forgotten, by name."""
        ...

    async def lease(self, holder: str, life_s: float) -> bool:
        """Take or renew the one lease.

        Args:
            holder: who asks.
            life_s: how long it lasts unless renewed.

        Returns:
            Whether ``holder`` has it now; at most one has.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


def readable(entry: bytes) -> Desired | None:
    """An entry of a history; None for one that is damaged, which hides no other."""
    try:
        return Desired.from_json(entry)
    except BadDesired:
        return None
