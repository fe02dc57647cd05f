"""Records in a Redis: bounded connections, one deadline per call, no retries."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, cast

from prometheus_client import Counter

from model.generation import COMPLETE_GENERATIONS
from service.features.store import StoreTimeout, StoreUnavailable
from service.redis_client import REDIS_ERRORS, connect

_LAST_LOOKS = 4
"""Turns of the event loop in which bytes that arrived in time become an answer."""


class RedisStore:
    """A feature store on one Redis server."""

    def __init__(self, url: str, connections: int, round_trips: Counter) -> None:
        """Make the pool; nothing is connected yet.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.
            connections: connections at most; calls beyond that wait, within their deadline.
            round_trips: counts every round trip.

        Raises:
            ValueError: when the URL is not one of a Redis.
        """
        self._redis = connect(url, connections)
        self._round_trips = round_trips
        self._abandoned: set[asyncio.Future[Any]] = set()

    async def read(self, keys: Sequence[str], deadline_s: float) -> list[bytes | None]:
        """As ``FeatureStore.read``: one MGET."""
        return await self._within(self._mget(keys), deadline_s)

    async def complete_generations(self, deadline_s: float) -> list[str]:
        """As ``FeatureStore.complete_generations``."""
        names = await self._within(self._names(), deadline_s)
        return [name.decode(errors="replace") for name in names if name]

    async def close(self) -> None:
        """As ``FeatureStore.close``."""
        await self._redis.aclose()

    async def _mget(self, keys: Sequence[str]) -> list[bytes | None]:
        return cast("list[bytes | None]", await self._redis.mget(keys))

    async def _names(self) -> list[bytes | None]:
        return cast("list[bytes | None]", await self._redis.lrange(COMPLETE_GENERATIONS, 0, -1))

    async def _within(
        self, call: Coroutine[None, None, list[bytes | None]], deadline_s: float
    ) -> list[bytes | None]:
        self._round_trips.inc()
        task = asyncio.create_task(call)
        try:
            await self._wait(task, deadline_s)
        finally:
            if not task.done():
                self._abandon(task)
        if not task.done():
            raise StoreTimeout("Redis did not answer before the deadline")
        try:
            return task.result()
        except REDIS_ERRORS as error:
            raise StoreUnavailable(f"Redis: {error}") from error

    async def _wait(self, task: asyncio.Future[Any], deadline_s: float) -> None:
        remaining_s = deadline_s - asyncio.get_running_loop().time()
        await asyncio.wait((task,), timeout=max(remaining_s, 0.0))
        # Graphs run on this loop and delay its timers: an answer may lie in the socket, unread.
        for _ in range(_LAST_LOOKS):
            if task.done():
                return
            await asyncio.sleep(0)

    def _abandon(self, task: asyncio.Future[Any]) -> None:
        """Cancel a call and keep it until it ends; its connection is dropped, never reused."""
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()
