"""Swapping: models and generations change under load, and every answer is held against that."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import fmean, median
from typing import Any

from loadtests.swaps.callers import Answer, Callers
from loadtests.swaps.replicas import Replica, resident_bytes
from loadtests.swaps.windows import compared, turns
from model.desired import Target

SETTLE_S = 0.5
"""After an order is carried out, for the old model to be let go."""


@dataclass(frozen=True)
class Swap:
    """One order that was carried out."""

    target: Target
    begin_s: float
    """When it was given, on the monotonic clock."""
    end_s: float
    resident_bytes: int
    """Of all workers, before the next one."""


async def swap_under_load(
    replicas: Sequence[Replica],
    callers: Callers,
    rate: float,
    targets: Sequence[Target],
    rest_s: float,
) -> list[Swap]:
    """Promote one target after the other while callers ask, with a quiet time after each.

    Args:
        replicas: take the orders in turn.
        callers: of all workers.
        rate: requests per second.
        targets: the first one serves already.
        rest_s: of each quiet time.
    """
    pids = [pid for replica in replicas for pid in replica.workers()]
    stop = asyncio.Event()
    offering = asyncio.create_task(callers.offer(rate, stop))
    swaps = []
    try:
        await asyncio.sleep(SETTLE_S + rest_s)
        for target, replica in zip(targets[1:], cycle(replicas), strict=False):
            begin_s = time.monotonic()
            order = {"version": target.version, "generation": target.generation}
            await asyncio.to_thread(replica.order, "promote", **order)
            end_s = time.monotonic()
            await asyncio.sleep(SETTLE_S + rest_s)
            swaps.append(Swap(target, begin_s, end_s, resident_bytes(pids)))
    finally:
        stop.set()
        await offering
    return swaps


def swap_figures(
    first: Target, swaps: Sequence[Swap], answers: Sequence[Answer], warm_up: int
) -> dict[str, Any]:
    """What a run of swaps showed.

    Args:
        first: what served before the first swap.
        swaps: in order.
        answers: all of them.
        warm_up: swaps before memory is first looked at.
    """
    wrong = out_of_turn(first, swaps, answers)
    faults = Counter(a.fault for a in answers if a.fault is not None and not a.mixed)
    measured = swaps[warm_up:]
    seconds = [swap.end_s - swap.begin_s for swap in swaps]
    windows = turns([(swap.begin_s, swap.end_s) for swap in swaps], SETTLE_S)
    return {
        "swaps": {"all": len(swaps), "measured": len(measured)},
        "answers": len(answers),
        "failed": sum(faults.values()),
        "failures": dict(faults.most_common(5)),
        "degraded": sum(a.degraded for a in answers),
        "mixed": sum(a.mixed for a in answers) + wrong,
        "out_of_turn": wrong,
        "targets_seen": len({a.target for a in answers if a.fault is None}),
        **compared(windows, answers),
        "swap_s": {"mean": round(fmean(seconds), 2), "longest": round(max(seconds), 2)},
        **memory_growth(swaps, warm_up),
    }


def out_of_turn(first: Target, swaps: Sequence[Swap], answers: Sequence[Answer]) -> int:
    """Answers by a target that nobody had yet ordered, or that had been replaced for certain.

    Args:
        first: what served before the first swap.
        swaps: in order; the end of one is the end of the tenure before it.
        answers: all of them.
    """
    tenures = _tenures(first, swaps)
    return sum(
        not answer.mixed
        and answer.target is not None
        and not any(
            answer.ended_s >= begin_s and answer.sent_s <= end_s
            for begin_s, end_s in tenures.get(answer.target, ())
        )
        for answer in answers
    )


def memory_growth(swaps: Sequence[Swap], warm_up: int) -> dict[str, Any]:
    """Resident memory of all workers after the last swap over that after the warm-up, less 1.

    Args:
        swaps: in order, of models and generations in turn.
        warm_up: swaps before memory is first looked at; both looks take the mean of as many as
            half of it, an even number, so that both kinds of swap count alike.

    Returns:
        ``memory_growth``; ``memory_growth_200``, what the steady growth per swap comes to in 200
        of them, by the median growth from one swap of a kind to the next of it, which what comes
        once does not move; and both looks.
    """
    look = max(warm_up // 4 * 2, 2)
    before = fmean(swap.resident_bytes for swap in swaps[max(warm_up - look, 0) : warm_up])
    after = fmean(swap.resident_bytes for swap in swaps[-look:])
    sizes = [swap.resident_bytes for swap in swaps[warm_up:]]
    per_swap = [(later - one) / 2 for one, later in zip(sizes, sizes[2:], strict=False)]
    return {
        "memory_growth": round(after / before - 1, 4),
        "memory_growth_200": round(200 * median(per_swap) / before, 4),
        "resident_mib": {"warm": round(before / 2**20, 1), "end": round(after / 2**20, 1)},
    }


def _tenures(
    first: Target, swaps: Sequence[Swap]
) -> Mapping[Target, Sequence[tuple[float, float]]]:
    tenures: dict[Target, list[tuple[float, float]]] = {}
    begins = [(first, -math.inf), *((swap.target, swap.begin_s) for swap in swaps)]
    ends = [*(swap.end_s for swap in swaps), math.inf]
    for (target, begin_s), end_s in zip(begins, ends, strict=True):
        tenures.setdefault(target, []).append((begin_s, end_s))
    return tenures
