"""Windows: latencies while something happens, beside those of quiet times in between."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.swaps.callers import Answer

Latencies = NDArray[np.float64]

RESAMPLES = 1000


@dataclass(frozen=True)
class Window:
    """A stretch of time, on the monotonic clock."""

    begin_s: float
    end_s: float
    busy: bool
    """Whether what is measured happened in it."""


def compared(windows: Sequence[Window], answers: Sequence[Answer]) -> dict[str, Any]:
    """The p99 of busy windows over that of the quiet ones, and of quiet ones over each other.

    Args:
        windows: in order, busy and quiet ones in turn.
        answers: with planned times; those of no window count nowhere.

    Returns:
        ``p99_ratio`` and, of every other quiet window over the rest, ``aa_ratio``, each with its
        90 % interval by resampling windows; ``p99_ratio_paired`` and ``aa_ratio_paired``, the
        median ratio of a busy window to the quiet one after it, and of a quiet window to the next
        quiet one, which a machine that is slow for a while does not move; and what they are made
        of, in ms.
    """
    by_window = _by_window(windows, answers)
    busy = [found for window, found in zip(windows, by_window, strict=True) if window.busy]
    quiet = [found for window, found in zip(windows, by_window, strict=True) if not window.busy]
    return {
        "p99_ratio": _ratio(busy, quiet),
        "p99_ratio_interval": _interval(busy, quiet),
        "aa_ratio": _ratio(quiet[::2], quiet[1::2]),
        "aa_ratio_interval": _interval(quiet[::2], quiet[1::2]),
        "p99_ratio_paired": _paired(busy, quiet),
        "aa_ratio_paired": _paired(quiet[::2], quiet[1::2]),
        "quiet_ms": _quantiles(quiet),
        "busy_ms": _quantiles(busy),
        "windows": {"busy": len(busy), "quiet": len(quiet)},
        "busy_share_of_time": _busy_share(windows),
    }


def turns(moments: Sequence[tuple[float, float]], settle_s: float) -> list[Window]:
    """Busy windows around moments, and the quiet ones between them.

    Args:
        moments: begin and end of each, in order.
        settle_s: how long what happened is still felt, such as a model that is let go.
    """
    windows: list[Window] = []
    for (begin_s, end_s), (next_s, _) in pairwise(moments):
        busy_until_s = min(end_s + settle_s, next_s)
        windows.append(Window(begin_s, busy_until_s, busy=True))
        windows.append(Window(busy_until_s, next_s, busy=False))
    return windows


def _by_window(windows: Sequence[Window], answers: Sequence[Answer]) -> list[Latencies]:
    begins = [window.begin_s for window in windows]
    found: list[list[float]] = [[] for _ in windows]
    for answer in answers:
        place = bisect_right(begins, answer.planned_s) - 1
        if place >= 0 and answer.planned_s < windows[place].end_s and answer.fault is None:
            found[place].append(answer.latency_s)
    return [np.array(latencies) for latencies in found]


def _p99(latencies: Sequence[Latencies]) -> float:
    together = np.concatenate([np.zeros(0), *latencies])
    return float(np.quantile(together, 0.99)) if len(together) else float("nan")


def _ratio(one: Sequence[Latencies], other: Sequence[Latencies]) -> float:
    return round(_p99(one) / _p99(other), 3)


def _paired(one: Sequence[Latencies], other: Sequence[Latencies]) -> float:
    """The median over windows that lie beside each other."""
    pairs = zip(one, other, strict=False)
    ratios = [_p99([first]) / _p99([second]) for first, second in pairs]
    return round(float(np.nanmedian(ratios)), 3) if ratios else float("nan")


def _interval(one: Sequence[Latencies], other: Sequence[Latencies]) -> list[float]:
    """The 5th and 95th percentile of the ratio over draws of windows with replacement."""
    chance = np.random.default_rng(0)

    def drawn(windows: Sequence[Latencies]) -> list[Latencies]:
        return [windows[n] for n in chance.integers(0, len(windows), len(windows)).tolist()]

    if not one or not other:
        return []
    ratios = [_ratio(drawn(one), drawn(other)) for _ in range(RESAMPLES)]
    return [round(float(q), 3) for q in np.nanquantile(ratios, [0.05, 0.95])]


def _quantiles(latencies: Sequence[Latencies]) -> dict[str, float]:
    together = np.concatenate([np.zeros(0), *latencies])
    if not len(together):
        return {}
    named = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: round(1000 * float(np.quantile(together, q)), 2) for name, q in named.items()}
    return {"answers": len(together), **found}


def _busy_share(windows: Sequence[Window]) -> float:
    total = sum(window.end_s - window.begin_s for window in windows)
    busy = sum(window.end_s - window.begin_s for window in windows if window.busy)
    return round(busy / total, 3) if total else float("nan")
