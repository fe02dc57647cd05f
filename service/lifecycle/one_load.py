"""One load: the one under way, which a newer wish does not wait for."""

import asyncio
from collections.abc import Coroutine


class OneLoad:
    """Loads follow each other; whoever waits for one is called away by a newer wish."""

    def __init__(self, newer_wish: asyncio.Event) -> None:
        """Begin with none.

        Args:
            newer_wish: set when somebody wishes something else.
        """
        self._newer_wish = newer_wish
        self._last: asyncio.Task[None] | None = None

    def begin(self, load: Coroutine[None, None, None]) -> None:
        """Begin another one; the last one has ended."""
        self._last = asyncio.create_task(load)

    async def end(self) -> bool:
        """Wait for the end of the last one, or for a newer wish.

        Returns:
            Whether it has ended.
        """
        if self._last is None or self._last.done():
            return True
        newer_wish = asyncio.create_task(self._newer_wish.wait())
        await asyncio.wait((self._last, newer_wish), return_when=asyncio.FIRST_COMPLETED)
        newer_wish.cancel()
        return self._last.done()

    async def stop(self) -> None:
        """Break it off."""
        if self._last is not None:
            self._last.cancel()
            await asyncio.gather(self._last, return_exceptions=True)
