"""A circuit breaker: a store that fails again and again is left alone for a while."""

import asyncio
from collections.abc import Sequence

from prometheus_client import Gauge

from service.features.store import FeatureStore, StoreUnavailable

FAILURES_TO_OPEN = 5
OPEN_S = 1.0


class Breaker:
    """Closed: everybody passes. Open: nobody. Half open: one probe decides."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed_until_s = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are kept away, probes apart."""
        return self._failures >= FAILURES_TO_OPEN

    def allows(self, now_s: float) -> bool:
        """Whether a request may try.

        A yes while open is the probe: ``succeeded``, ``failed`` or ``gave_up`` must follow.
        """
        if not self.is_open:
            return True
        if self._probing or now_s < self._closed_until_s:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The store answered: close."""
        self._failures = 0
        self._probing = False

    def failed(self, now_s: float) -> None:
        """The store did not answer: count, and open when it was one too many."""
        self._failures += 1
        self._probing = False
        self._closed_until_s = now_s + OPEN_S

    def gave_up(self) -> None:
        """The request was cancelled: nothing was learnt."""
        self._probing = False


class GuardedStore:
    """A feature store behind a breaker."""

    def __init__(self, store: FeatureStore, open_gauge: Gauge) -> None:
        """Guard a store.

        Args:
            store: the store to guard.
            open_gauge: set to 1 while the breaker is open.
        """
        self._store = store
        self._breaker = Breaker()
        self._gauge = open_gauge

    async def read(self, keys: Sequence[str], deadline_s: float) -> list[bytes | None]:
        """As ``FeatureStore.read``; fails at once while the breaker is open."""
        loop = asyncio.get_running_loop()
        if not self._breaker.allows(loop.time()):
            raise StoreUnavailable("the store is left alone after repeated failures")
        try:
            values = await self._store.read(keys, deadline_s)
        except StoreUnavailable:
            self._breaker.failed(loop.time())
            self._gauge.set(self._breaker.is_open)
            raise
        except BaseException:
            self._breaker.gave_up()
            raise
        if self._breaker.is_open:
            self._gauge.set(0)
        self._breaker.succeeded()
        return values

    async def complete_generations(self, deadline_s: float) -> list[str]:
        """As ``FeatureStore.complete_generations``; rare, so it passes the breaker by."""
        return await self._store.complete_generations(deadline_s)

    async def close(self) -> None:
        """As ``FeatureStore.close``."""
        await self._store.close()
