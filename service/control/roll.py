"""The roll: which replicas have reported lately, and which have fallen silent."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.lifecycle.states import ReplicaState

MISSED_S = 3600.0
"""How long a replica that fell silent is spoken of."""


@dataclass(frozen=True)
class _Entry:
    state: ReplicaState
    seen_s: float
    """When its last report was first seen here, by this replica's own clock."""


class Roll:
    """What one replica remembers of the others, so that nobody drops out unnoticed."""

    def __init__(self, life_s: float, own: str) -> None:
        """Begin knowing nobody.

        Args:
            life_s: how long a report counts.
            own: the replica that remembers; it never misses itself.
        """
        self._life_s = life_s
        self._own = own
        self._entries: dict[str, _Entry] = {}

    def call(self, reported: Iterable[ReplicaState]) -> Sequence[ReplicaState]:
        """Take in the reports that stand in the store, and say who counts now.

        A report that the store has lost before its time still counts: an emptied store must not
        make an order forget a replica.

        Args:
            reported: what the store holds.

        Returns:
            The last report of every replica that is not silent, by name.
        """
        now_s = time.monotonic()
        live = {state.replica: state for state in reported}
        for name, state in live.items():
            known = self._entries.get(name)
            if known is None or known.state.when_s != state.when_s:
                self._entries[name] = _Entry(state, now_s)
        self._forget(now_s)
        return [state for _, state in sorted((self._recent(now_s) | live).items())]

    def present(self) -> Sequence[ReplicaState]:
        """The last report of every replica that is not silent, without asking the store again."""
        return list(self._recent(time.monotonic()).values())

    def silent(self) -> Mapping[str, float]:
        """By other replica that stopped reporting without saying that it ends: since when, in s."""
        now_s = time.monotonic()
        return {
            name: now_s - entry.seen_s
            for name, entry in sorted(self._entries.items())
            if name != self._own
            and now_s - entry.seen_s > self._life_s
            and not _ending(entry.state)
        }

    def _recent(self, now_s: float) -> dict[str, ReplicaState]:
        return {
            name: entry.state
            for name, entry in sorted(self._entries.items())
            if now_s - entry.seen_s <= self._life_s
        }

    def _forget(self, now_s: float) -> None:
        self._entries = {
            name: entry for name, entry in self._entries.items() if now_s - entry.seen_s <= MISSED_S
        }


def _ending(state: ReplicaState) -> bool:
    return all(worker.draining for worker in state.workers)
