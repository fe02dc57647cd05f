"""The reference sketch: how scores and alpha_fusion lie by activity level when a model is born."""

import json

import numpy as np
from numpy.typing import NDArray

LEVELS = 5
SCORE_EDGES = tuple(float(f"{1 / (1 + np.exp(-logit)):.6g}") for logit in np.linspace(-9, 9, 37))
"""Even steps of half a logit: conversion rates crowd near 0, where even steps would see nothing."""
ALPHA_EDGES = tuple(round(step / 20, 2) for step in range(1, 20))


def reference_sketch(
    score: NDArray[np.float32], alpha_fusion: NDArray[np.float32], level: NDArray[np.int8]
) -> str:
    """Histograms by activity level, to compare with what serving sees later.

    Args:
        score: float32 ``[N]`` in [0, 1].
        alpha_fusion: float32 ``[N]`` in [0, 1].
        level: int8 ``[N]``, 1 to 5.

    Returns:
        JSON: for ``score`` and ``alpha_fusion`` the inner bin edges (bin n holds values from edge
        n - 1 up to, not including, edge n), and counts per level, one more than edges.
    """
    sketch = {
        "score": _histograms(score, SCORE_EDGES, level),
        "alpha_fusion": _histograms(alpha_fusion, ALPHA_EDGES, level),
    }
    return json.dumps(sketch, indent=1, sort_keys=True)


def _histograms(
    values: NDArray[np.float32], edges: tuple[float, ...], level: NDArray[np.int8]
) -> dict[str, object]:
    bins = np.searchsorted(np.array(edges), values.astype(np.float64), side="right")
    counts = {
        str(number): np.bincount(bins[level == number], minlength=len(edges) + 1).tolist()
        for number in range(1, LEVELS + 1)
    }
    return {"edges": edges, "counts": counts}
