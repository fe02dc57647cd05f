"""The background thread."""

import asyncio
import os
import threading

from service.lifecycle.background import Background


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_load_has_the_priority_of_what_it_shares_a_lock_with() -> None:
    """Where cores are busy, a thread kept from them while it holds the lock stalls every answer."""

    async def scenario() -> tuple[int, int]:
        background = Background()
        try:
            return await background.run(_priority), _priority()
        finally:
            background.stop()

    there, here = asyncio.run(scenario())
    assert there == here


def test_tasks_never_overlap_and_errors_come_back() -> None:
    """Two loads are never done at once, and each caller learns its own end."""
    running, most = 0, 0

    def task() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        running -= 1
        raise ZeroDivisionError

    async def scenario() -> list[object]:
        background = Background()
        tasks = (background.run(task) for _ in range(20))
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    ends = asyncio.run(scenario())
    assert [type(end) for end in ends] == [ZeroDivisionError] * 20
    assert most == 1
