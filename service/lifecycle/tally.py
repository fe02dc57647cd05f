"""The tally: what one target has answered, counted by one thread in plain numbers."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from model.reference import ReferenceSketch
from service.lifecycle.states import RoleCounts
from service.metrics import ACTIVITY_LEVELS, LATENCY_EDGES_S


class Tally:
    """Counts that only grow; written and read on the event loop's thread, without locks."""

    def __init__(self, reference: ReferenceSketch) -> None:
        """Begin with nothing counted.

        Args:
            reference: the bundle's sketch, whose bins the scores are counted by.
        """
        levels = [reference.score[int(level)] for level in ACTIVITY_LEVELS]
        self._edges = [np.array(level.edges, np.float64) for level in levels]
        self._score = [np.zeros(len(level.counts), np.int64) for level in levels]
        self._requests = self._errors = 0
        self._latency = [0] * (len(LATENCY_EDGES_S) + 1)
        self._alpha = [0.0] * len(levels)
        self._alpha_squares = [0.0] * len(levels)
        self._answers = [0] * len(levels)

    def scored(self, scores: NDArray[np.float32], alpha_fusion: float, level: int | None) -> None:
        """Count one call's columns.

        Args:
            scores: float32 ``[C]``.
            alpha_fusion: of the call.
            level: the user's activity level; None: it is not known, and nothing is counted.
        """
        if level is None:
            return
        counts = self._score[level - 1]
        bins = self._edges[level - 1].searchsorted(scores, "right")
        counts += np.bincount(bins, minlength=len(counts))
        self._alpha[level - 1] += alpha_fusion
        self._alpha_squares[level - 1] += alpha_fusion * alpha_fusion
        self._answers[level - 1] += 1

    def answered(self, seconds: float, calls: int, *, failed: bool) -> None:
        """Count one HTTP request's calls; those of a batch share its time, on both sides alike.

        Args:
            seconds: from the request's first byte handed over to its last byte sent.
            calls: that this target answered.
            failed: whether the status was 500 or above.
        """
        self._requests += calls
        self._errors += calls * failed
        self._latency[bisect_left(LATENCY_EDGES_S, seconds)] += calls

    def counts(self) -> RoleCounts:
        """The state of now."""
        alphas = zip(self._answers, self._alpha, strict=True)
        scores = (tuple(counts.tolist()) for counts in self._score)
        return RoleCounts(
            requests=self._requests,
            errors=self._errors,
            latency=tuple(self._latency),
            score=dict(zip(ACTIVITY_LEVELS, scores, strict=True)),
            alpha=dict(zip(ACTIVITY_LEVELS, alphas, strict=True)),
            alpha_squares=dict(zip(ACTIVITY_LEVELS, self._alpha_squares, strict=True)),
        )
