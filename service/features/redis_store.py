"""Records in a Redis: one pipelined line, one deadline per call, no retries."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, cast

from prometheus_client import Counter

from model.generation import COMPLETE_GENERATIONS
from service.features.redis_line import Line
from service.features.store import StoreTimeout, StoreUnavailable
from service.redis_client import Server, read_url

OPENING_S = 2.0
"""For a connection and its greetings."""


class RedisStore:
    """A feature store on one Redis server. Belongs to one event loop."""

    def __init__(self, url: str, round_trips: Counter) -> None:
        """Read the address; nothing is connected yet.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.
            round_trips: counts every round trip.

        Raises:
            ValueError: when the URL is not one of a Redis.
        """
        self._server = read_url(url)
        self._round_trips = round_trips
        self._line: Line | None = None
        self._opening: asyncio.Task[Line] | None = None

    async def read(self, keys: Sequence[str], deadline_s: float) -> list[bytes | None]:
        """As ``FeatureStore.read``: one MGET."""
        return cast("list[bytes | None]", await self._ask(["MGET", *keys], deadline_s))

    async def complete_generations(self, deadline_s: float) -> list[str]:
        """As ``FeatureStore.complete_generations``."""
        names = await self._ask(["LRANGE", COMPLETE_GENERATIONS, "0", "-1"], deadline_s)
        return [name.decode(errors="replace") for name in names if name]

    async def close(self) -> None:
        """As ``FeatureStore.close``."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        if self._line is not None:
            self._line.close()

    async def _ask(self, words: Sequence[str], deadline_s: float) -> Any:
        self._round_trips.inc()
        line = self._line
        if line is None or not line.usable:
            line = await self._opened(deadline_s)
        return await line.ask(words, deadline_s)

    async def _opened(self, deadline_s: float) -> Line:
        """A new line; all who need one wait for the same, and it opens without them, too."""
        if self._opening is None:
            self._opening = asyncio.create_task(_open(self._server))
            self._opening.add_done_callback(self._settle)
        opening = self._opening
        remaining_s = deadline_s - asyncio.get_running_loop().time()
        await asyncio.wait((opening,), timeout=max(remaining_s, 0.0))
        if not opening.done():
            raise StoreTimeout("Redis could not be reached before the deadline")
        try:
            return opening.result()
        except OSError as error:
            raise StoreUnavailable(f"Redis: {error}") from error

    def _settle(self, opening: "asyncio.Task[Line]") -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._line = opening.result()


async def _open(server: Server) -> Line:
    """Connect and say hello; raises OSError, and StoreUnavailable for greetings not taken."""
    async with asyncio.timeout(OPENING_S):  # its TimeoutError is an OSError
        line = await _connected(server)
    deadline_s = asyncio.get_running_loop().time() + OPENING_S
    try:
        for words in _greetings(server):
            await line.ask(words, deadline_s)
    except BaseException:
        line.close()
        raise
    return line


async def _connected(server: Server) -> Line:
    loop = asyncio.get_running_loop()
    if server.path is not None:
        return (await loop.create_unix_connection(Line, server.path))[1]
    return (await loop.create_connection(Line, server.host, server.port, ssl=server.tls))[1]


def _greetings(server: Server) -> Iterator[list[str]]:
    if server.password:
        yield ["AUTH", *([server.username] if server.username else []), server.password]
    if server.database:
        yield ["SELECT", str(server.database)]
