"""A line to one Redis: commands leave at once, and their replies come back in the same order."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import hiredis

from service.features.store import StoreTimeout, StoreUnavailable

LAST_LOOKS = 4
"""Turns of the event loop in which bytes that arrived in time become an answer."""
MOST_UNDER_WAY = 1024
"""Commands without a reply; a Redis that owes so many is not asked for more."""
STALL_S = 1.0
"""Without a reply to the oldest command, after which the line is given up."""


class _Asked(NamedTuple):
    """A command on its way."""

    reply: "asyncio.Future[Any]"
    at_s: float


class Line(asyncio.Protocol):
    """One connection. A caller who leaves, or comes too late, costs nobody else an answer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._asked: deque[_Asked] = deque()
        self._transport: asyncio.Transport | None = None

    @property
    def usable(self) -> bool:
        """Whether it takes commands."""
        return self._transport is not None

    async def ask(self, words: Sequence[str], deadline_s: float) -> Any:
        """Send a command and wait for its reply.

        Args:
            words: the command and its arguments.
            deadline_s: a moment of the event loop's clock.

        Returns:
            The reply: bytes, an integer, None, or a list of them.

        Raises:
            StoreTimeout: at the deadline.
            StoreUnavailable: when the line is lost, or the reply is an error.
        """
        if self._transport is None:
            raise StoreUnavailable("Redis: the connection is lost")
        if len(self._asked) >= MOST_UNDER_WAY:
            self._close_if_stalled()
            raise StoreUnavailable(f"Redis owes {MOST_UNDER_WAY} replies; it is not asked for more")
        # The library's types allow for one word only. What cannot be packed is not waited for.
        command = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append(_Asked(reply, self._loop.time()))
        self._transport.write(command)
        timer = self._loop.call_at(deadline_s, self._look, reply, LAST_LOOKS)
        try:
            return await reply
        finally:
            timer.cancel()

    def close(self) -> None:
        """End it; whoever waits is told."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take commands from now on."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who asked, first come, first served."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._hand_out(reply)
        except (hiredis.ProtocolError, LookupError):
            self.close()  # whose reply the next one would be, nobody knows

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._transport = None
        for asked in self._asked:
            if not asked.reply.done():
                asked.reply.set_exception(StoreUnavailable(f"Redis: connection lost ({exc})"))
        self._asked.clear()

    def _hand_out(self, reply: Any) -> None:
        waiting = self._asked.popleft().reply
        if waiting.done():  # the caller has left
            return
        if isinstance(reply, hiredis.ReplyError):
            waiting.set_exception(StoreUnavailable(f"Redis: {reply}"))
        else:
            waiting.set_result(reply)

    def _look(self, reply: "asyncio.Future[Any]", looks: int) -> None:
        """At the deadline: graphs run on this loop and delay it, an answer may lie unread."""
        if reply.done():
            return
        if looks:
            self._loop.call_soon(self._look, reply, looks - 1)
            return
        reply.set_exception(StoreTimeout("Redis did not answer before the deadline"))
        self._close_if_stalled()

    def _close_if_stalled(self) -> None:
        if self._asked and self._loop.time() - self._asked[0].at_s > STALL_S:
            self.close()
