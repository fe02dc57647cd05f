"""Rollbacks under load: how soon each worker answers by the old version, and by the new no more."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from loadtests.swaps.callers import Answer, Callers
from loadtests.swaps.replicas import Replica
from model.desired import Target

REST_S = 1.0


@dataclass(frozen=True)
class Rollback:
    """One order to go back."""

    to: Target
    begin_s: float
    """When it was given, on the monotonic clock."""
    end_s: float


async def roll_back_under_load(
    replicas: Sequence[Replica],
    callers: Callers,
    rate: float,
    pair: tuple[Target, Target],
    times: int,
) -> list[Rollback]:
    """Go back and forth between two versions while callers ask.

    Args:
        replicas: take the orders in turn.
        callers: of all workers.
        rate: requests per second.
        pair: what serves, and what is promoted before the first rollback.
        times: rollbacks.
    """
    order = {"version": pair[1].version, "generation": pair[1].generation}
    last = await asyncio.to_thread(replicas[0].order, "promote", **order)
    stop = asyncio.Event()
    offering = asyncio.create_task(callers.offer(rate, stop))
    made = []
    try:
        await asyncio.sleep(REST_S)
        for number, replica in zip(range(times), cycle(replicas), strict=False):
            begin_s = time.monotonic()
            # Named, since a rollback right after another one is taken for the same one.
            last = await asyncio.to_thread(replica.order, "rollback", revision=last["revision"])
            made.append(Rollback(pair[number % 2], begin_s, time.monotonic()))
            await asyncio.sleep(REST_S)
    finally:
        stop.set()
        await offering
    return made


def rollback_figures(made: Sequence[Rollback], answers: Sequence[Answer]) -> dict[str, Any]:
    """From the order on, in seconds.

    Args:
        made: the rollbacks.
        answers: all that were given meanwhile.

    Returns:
        ``rollback_s``, the longest time to the first answer of the old version on the last worker,
        infinite where one never gave any; beside it the median over rollbacks, the time to the
        order's own outcome, and the time to the last answer of the new version, which is one that
        was under way.
    """
    workers = {answer.pid for answer in answers if answer.pid}
    firsts = [max(_first_s(one, answers, pid) for pid in workers) for one in made]
    lasts = [_last_s(one, answers) for one in made]
    told = [one.end_s - one.begin_s for one in made]
    return {
        "rollback_s": round(max(firsts), 3),
        "rollback_median_s": round(sorted(firsts)[len(firsts) // 2], 3),
        "rollback_told_s": round(max(told), 3),
        "last_of_new_s": round(max(lasts), 3),
        "rollbacks": len(made),
        "rollback_failed": sum(not answer.right for answer in answers),
    }


def _first_s(one: Rollback, answers: Sequence[Answer], pid: int) -> float:
    """Of one worker, asked many times within the rest after an order; infinite: it never did."""
    found = (
        answer.ended_s - one.begin_s
        for answer in answers
        if answer.pid == pid
        and answer.target == one.to
        and one.begin_s <= answer.sent_s <= one.end_s + REST_S
    )
    return next(found, math.inf)


def _last_s(one: Rollback, answers: Sequence[Answer]) -> float:
    until_s = one.end_s + REST_S
    others = [
        answer.ended_s - one.begin_s
        for answer in answers
        if answer.target not in (one.to, None) and one.begin_s <= answer.ended_s <= until_s
    ]
    return max(others, default=0.0)
