"""Shadows: what one costs the champion's callers, beside times without it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.swaps.callers import Callers
from loadtests.swaps.replicas import Replica
from loadtests.swaps.windows import Window, compared
from model.desired import Target

SAMPLE = 0.2
BEGIN_S = 60.0
"""For the comparison of every replica to begin: a process that loads two versions."""
SETTLE_S = 1.0
LOOK_S = 0.5


async def shadow_figures(
    replicas: Sequence[Replica],
    callers: Callers,
    rate: float,
    target: Target,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Start and stop a shadow while callers ask.

    Args:
        replicas: the first takes the orders.
        callers: of all workers.
        rate: requests per second.
        target: the shadow's.
        rounds: times that it is started.
        seconds: of each window, with the shadow and without.

    Returns:
        As ``compared``, over windows with the shadow at work and without it; the requests that
        it scored, and the failures.
    """
    stop = asyncio.Event()
    offering = asyncio.create_task(callers.offer(rate, stop))
    windows, scored = [], 0
    order = {"version": target.version, "generation": target.generation, "sample": SAMPLE}
    try:
        for _ in range(rounds):
            await asyncio.to_thread(replicas[0].order, "shadow", **order)
            await _await_work(replicas[0], len(replicas))
            windows.append(await _window(seconds, busy=True))
            scored += sum(map(_scored, await asyncio.to_thread(_reports, replicas[0])))
            await asyncio.to_thread(replicas[0].order, "shadow/stop")
            windows.append(await _window(seconds, busy=False))
    finally:
        stop.set()
        await offering
    failed = sum(not answer.right for answer in callers.answers)
    found = compared(windows, callers.answers)
    return {"sample": SAMPLE, "scored": scored, "shadow_failed": failed, **found}


async def _window(seconds: float, *, busy: bool) -> Window:
    await asyncio.sleep(SETTLE_S)
    begin_s = time.monotonic()
    await asyncio.sleep(seconds)
    return Window(begin_s, time.monotonic(), busy)


async def _await_work(replica: Replica, replicas: int) -> None:
    give_up_s = time.monotonic() + BEGIN_S
    while True:
        reports = await asyncio.to_thread(_reports, replica)
        found = [_scored(report) for report in reports]
        if len(found) == replicas and all(found):
            return
        if time.monotonic() > give_up_s:
            raise RuntimeError(f"no shadow was at work after {BEGIN_S:g} s: {reports}")
        await asyncio.sleep(LOOK_S)


def _reports(replica: Replica) -> list[dict[str, Any]]:
    """What each replica's shadow says."""
    found = [other["findings"].get("shadow") for other in replica.state()["replicas"]]
    return [report for report in found if report is not None]


def _scored(report: Mapping[str, Any]) -> int:
    """Requests that a shadow has scored since it began."""
    return int(report["outcomes"].get("compared", 0))
