"""The background thread: one thread beside the event loop, for everything that blocks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Background:
    """Runs one thing after the other beside the event loop.

    Its priority is the process's own. A thread of lower priority would be kept from the cores
    just while it holds the interpreter's lock, and the event loop would wait for both: on busy
    cores the longest stall while a bundle loads was four times as long with the lowest priority
    (docs/service.md).
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "choirrec-background")

    async def run(self, task: Callable[[], Result]) -> Result:
        """Run a task in the thread, after those that were given before.

        Args:
            task: may block.

        Returns:
            What it returns; what it raises is raised here.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, task)

    def stop(self) -> None:
        """Take nothing more; the running task, if any, ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
