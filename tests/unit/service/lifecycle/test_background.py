"""The background thread."""

import asyncio
import os
import sys
import threading

import pytest

from service.lifecycle.background import LOWEST_PRIORITY, Background


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.parametrize("modest", [True, False])
def test_modest_thread_gives_way_and_nobody_else_does(modest: bool) -> None:
    """A load has the lowest priority on Linux; the thread that answers keeps its own."""
    before = _priority()

    async def scenario() -> tuple[int, int]:
        background = Background(modest=modest)
        try:
            return await background.run(_priority), _priority()
        finally:
            background.stop()

    there, here = asyncio.run(scenario())
    assert here == before
    linux = sys.platform.startswith("linux")
    assert there == (LOWEST_PRIORITY if modest and linux else before)


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
        background = Background(modest=True)
        tasks = (background.run(task) for _ in range(20))
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    ends = asyncio.run(scenario())
    assert [type(end) for end in ends] == [ZeroDivisionError] * 20
    assert most == 1
