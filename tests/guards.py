"""Windows of canary and champion as simulated users make them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from model.reference import LEVELS, Histogram, ReferenceSketch
from offline.reference import reference_sketch
from service.lifecycle.states import RoleCounts
from service.metrics import LATENCY_EDGES_S

CANDIDATES = 20
ALPHA_MEANS = {1: 0.6, 2: 0.5, 3: 0.45, 4: 0.4, 5: 0.3}


@dataclass(frozen=True)
class Behaviour:
    """How a model answers; the default is a good one."""

    error_rate: float = 0.002
    latency_s: float = 0.004
    """Median."""
    alpha: Mapping[int, float] = field(default_factory=lambda: dict(ALPHA_MEANS))
    """Mean by level."""
    alpha_spread: float = 0.08
    shift: Mapping[int, float] = field(default_factory=dict)
    """By level: how far its logits lie from where they lay offline."""
    live_shift: float = 0.3
    """How far live requests lie from the test rows, whatever the model."""
    users: int = 400
    """Who ask again and again, per level: their answers lie together."""

    def altered(self, **changes: object) -> "Behaviour":
        """The same with other parts."""
        return replace(self, **changes)  # type: ignore[arg-type]


GOOD = Behaviour()


def sketch(rng: np.random.Generator, requests: int = 2_000) -> ReferenceSketch:
    """The reference of a good model, by offline's own code."""
    levels = np.repeat(np.arange(1, LEVELS + 1, dtype=np.int8), requests)
    alphas = np.array([ALPHA_MEANS[int(n)] for n in levels]) + rng.normal(0, 0.08, len(levels))
    scores = _scores(rng, rng.normal(0, 0.7, len(levels)))
    return reference_sketch(
        scores.ravel().astype(np.float32),
        np.repeat(levels, CANDIDATES),
        alphas.clip(0, 1).astype(np.float32),
        levels,
    )


def window(
    rng: np.random.Generator,
    behaviour: Behaviour,
    reference: ReferenceSketch,
    calls: int,
    answers: int,
) -> RoleCounts:
    """What a target answered: calls in all, and answers of each activity level."""
    score, alpha, squares = {}, {}, {}
    for level in range(1, LEVELS + 1):
        # Each user has a place of their own, which their answers share.
        places = rng.normal(
            behaviour.live_shift + behaviour.shift.get(level, 0), 0.7, behaviour.users
        )
        asking = rng.integers(0, behaviour.users, answers)
        score[str(level)] = _counted(reference.score[level], _scores(rng, places[asking]))
        trust = rng.normal(behaviour.alpha[level], behaviour.alpha_spread, behaviour.users)
        found = trust.clip(0, 1)[asking]
        alpha[str(level)] = (answers, float(found.sum()))
        squares[str(level)] = float((found**2).sum())
    return RoleCounts(
        requests=calls,
        errors=int(rng.binomial(calls, behaviour.error_rate)),
        latency=latencies(rng, behaviour.latency_s, calls),
        score=score,
        alpha=alpha,
        alpha_squares=squares,
    )


def latencies(rng: np.random.Generator, median_s: float, calls: int) -> tuple[int, ...]:
    """Log-normal times with a heavy tail, by edge."""
    seconds = median_s * np.exp(rng.normal(0, 0.5, calls)) + 0.05 * (rng.random(calls) < 0.004)
    places = np.searchsorted(LATENCY_EDGES_S, seconds)
    return tuple(np.bincount(places, minlength=len(LATENCY_EDGES_S) + 1).tolist())


def _scores(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    logits = places[:, np.newaxis] - 3 + rng.normal(0, 1, (len(places), CANDIDATES))
    return 1 / (1 + np.exp(-logits))


def _counted(histogram: Histogram, scores: np.ndarray) -> tuple[int, ...]:
    bins = histogram.bins(scores.ravel())
    return tuple(np.bincount(bins, minlength=len(histogram.counts)).tolist())
