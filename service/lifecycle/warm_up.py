"""The warm-up: a loaded version scores until its latency is flat, before it answers anybody."""

import time
from dataclasses import replace

from model.bundle import Bundle
from model.golden import Golden
from service.errors import LoadRefused
from service.lifecycle.golden_check import score_golden
from service.lifecycle.rests import Rests
from service.scorer import NonFinite, Scorer

SIZES = (1, 50, 500)
"""Candidates per request."""
FLAT = 0.95
"""Latency is flat once the best of a window is not below this share of the best before it."""
WINDOW = 3
"""Rounds of one window."""
MAX_ROUNDS = 30
MAX_S = 3.0


def warm_up(bundle: Bundle, scorer: Scorer, rests: Rests) -> int:
    """Score at several sizes until that gets no quicker, and by the snapshot.

    Args:
        bundle: the bundle, with at least one golden request.
        scorer: the scorer made from it.
        rests: taken after each request.

    Returns:
        Rounds that it took.

    Raises:
        LoadRefused: when the snapshot cannot answer an unknown user: nothing else would be left
            on the day that Redis is gone.
    """
    golden = bundle.golden[0]
    _try_snapshot(bundle, scorer, golden)
    requests = [list(golden.item_ids) * -(-size // len(golden.item_ids)) for size in SIZES]
    rounds: list[float] = []
    while not _is_flat(rounds) and sum(rounds) < MAX_S:
        seconds = 0.0
        for size, item_ids in zip(SIZES, requests, strict=True):
            began_s = time.perf_counter()
            score_golden(bundle, scorer, golden, item_ids[:size])
            seconds += time.perf_counter() - began_s
            rests.take()
        rounds.append(seconds)
    return len(rounds)


def _is_flat(rounds: list[float]) -> bool:
    """Bests are compared, not means: whatever else the machine does makes rounds slower only."""
    if len(rounds) >= MAX_ROUNDS:
        return True
    if len(rounds) < 2 * WINDOW:
        return False
    return min(rounds[-WINDOW:]) >= FLAT * min(rounds[:-WINDOW])


def _try_snapshot(bundle: Bundle, scorer: Scorer, golden: Golden) -> None:
    snapshot = bundle.prior_snapshot
    for prefix, group in snapshot.records.items():
        last_resort = replace(golden, user=None, group=group, group_as_of_s=snapshot.as_of_s)
        try:
            score_golden(bundle, scorer, last_resort, [golden.item_ids[0]])
        except NonFinite as error:
            raise LoadRefused(f"prior_snapshot.json, prefix {prefix}: {error}") from error
