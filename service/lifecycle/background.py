"""The background thread: one thread of lowest priority, in which everything that blocks is done."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

LOWEST_PRIORITY = 19
_log = logging.getLogger("choirrec")


class Background:
    """Runs one thing after the other beside the event loop."""

    def __init__(self, *, modest: bool) -> None:
        """Make it; the thread begins with the first task.

        Args:
            modest: whether it gives way to everything else on the machine's cores. Threads that
                are started in it inherit that, so it is no place to start those that must score.
        """
        initializer = _give_way if modest else None
        self._pool = ThreadPoolExecutor(1, "choirrec-background", initializer)

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


def _give_way() -> None:
    """Give this thread the lowest priority where threads have one of their own: on Linux."""
    if not sys.platform.startswith("linux"):
        _log.info("threads have no priority of their own here: loads compete with scoring")
        return
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
    except OSError as error:
        _log.warning("loads keep their priority and compete with scoring: %s", error)
