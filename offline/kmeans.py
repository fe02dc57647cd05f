"""K-means: the centroids of one level."""

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

from model.codebooks import nearest

SEEDING_POINTS = 40
"""Points per code that seeds are drawn from and first moved on; at least ``MIN_POINTS`` in all."""
MIN_POINTS = 2048
CANDIDATES = 8
"""Points tried for every seed, and in every round of exchanges; the best one stays."""
EXCHANGE_ROUNDS = 10
SEEDING_ITERATIONS = 10
ITERATIONS, MAX_ITERATIONS = 6, 100
"""On all points, from centroids that have settled on the seeding points. The more the fewer pairs
of point and centroid there are: where it costs nothing, centroids come to rest."""
_PAIRS = 4_000_000


def kmeans(
    points: NDArray[np.float32], codes: int, seed: int, restarts: int
) -> NDArray[np.float32]:
    """Centroids that leave little of the points unexplained.

    Seeds are drawn and moved on a part of the points, where that is cheap; the best of the
    restarts is then moved on all of them.

    Args:
        points: float32 ``[N, D]``, at least ``codes`` of them.
        codes: centroids k.
        seed: equal seeds and points give equal bytes, whatever number of threads is set.
        restarts: sets of seeds that are tried.

    Returns:
        float32 ``[k, D]``: every centroid has a point, unless there are fewer distinct points.

    Source: eq. 2; docs/groups.md.
    """
    random = np.random.default_rng(seed)
    size = min(len(points), max(codes * SEEDING_POINTS, MIN_POINTS))
    iterations = int(np.clip(_PAIRS // (len(points) * codes), ITERATIONS, MAX_ITERATIONS))
    part = points[np.sort(random.choice(len(points), size, replace=False))]
    with _one_thread():
        tried = [
            _moved(part, draw_seeds(part, codes, random), SEEDING_ITERATIONS)
            for _ in range(restarts)
        ]
        settled, _ = min(tried, key=lambda one: one[1])
        centroids, _ = _moved(points, settled, iterations)
    return repair_empty(points, centroids)


def draw_seeds(
    points: NDArray[np.float32], codes: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Seeds by greedy k-means++, then exchanges of a seed for a point that serves better.

    Where groups lie well apart, drawing alone puts two seeds into one and none into another, and
    iterations do not mend that; an exchange does.

    Args:
        points: float32 ``[N, D]``.
        codes: how many seeds.
        random: draws.

    Returns:
        float32 ``[k, D]``, each of them a point.
    """
    seeds = np.full(codes, random.integers(len(points)))
    gaps = np.empty((codes, len(points)), dtype=np.float32)
    gaps[0] = _gaps(points[seeds[:1]], points)[0]
    nearest_gap = gaps[0]
    for code in range(1, codes):
        drawn = _far(nearest_gap, random)
        tried = _gaps(points[drawn], points)
        best = int(np.argmin(np.minimum(tried, nearest_gap).sum(axis=1, dtype=np.float64)))
        seeds[code], gaps[code] = drawn[best], tried[best]
        nearest_gap = np.minimum(nearest_gap, tried[best])
    if codes > 1:
        for _ in range(EXCHANGE_ROUNDS):
            _exchange(points, seeds, gaps, random)
    return points[seeds]


def _exchange(
    points: NDArray[np.float32],
    seeds: NDArray[np.int64],
    gaps: NDArray[np.float32],
    random: np.random.Generator,
) -> None:
    """Exchange one seed for one of a few far points, in place, if that lowers the energy."""
    first, second, own = _two_nearest(gaps)
    drawn = _far(first, random)
    tried = _gaps(points[drawn], points)
    kept = np.minimum(tried, first)
    # What a seed's own points lose when it goes: they fall back on the second nearest.
    lost = np.minimum(tried, second) - kept
    losses = np.stack([np.bincount(own, weights=row, minlength=len(seeds)) for row in lost])
    energies = kept.sum(axis=1, dtype=np.float64)[:, None] + losses
    best, code = np.unravel_index(np.argmin(energies), energies.shape)
    if energies[best, code] < first.sum(dtype=np.float64):
        seeds[code], gaps[code] = drawn[best], tried[best]


def _two_nearest(
    gaps: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Of each point the gaps to the nearest and to the second nearest seed, and the nearest."""
    own, points = np.argmin(gaps, axis=0), np.arange(gaps.shape[1])
    first = gaps[own, points]
    gaps[own, points] = np.inf
    second: NDArray[np.float32] = gaps.min(axis=0)
    gaps[own, points] = first
    return first, second, own


def _far(gaps: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.int64]:
    """Positions of points drawn with a chance in proportion to their squared gaps."""
    reached = np.cumsum(gaps, dtype=np.float64)
    drawn = np.searchsorted(reached, random.random(CANDIDATES) * reached[-1], side="right")
    within: NDArray[np.int64] = np.minimum(drawn, len(gaps) - 1)
    return within


def _gaps(seeds: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 ``[k, N]``: squared distances, none below zero by rounding."""
    gaps: NDArray[np.float32] = np.maximum(faiss.pairwise_distances(seeds, points), 0)
    return gaps


def _moved(
    points: NDArray[np.float32], centroids: NDArray[np.float32], iterations: int
) -> tuple[NDArray[np.float32], float]:
    """Centroids after Lloyd's iterations, and the energy they leave."""
    lloyd = faiss.Kmeans(
        points.shape[1],
        len(centroids),
        niter=iterations,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    energy = lloyd.train(points, init_centroids=centroids)
    return np.asarray(lloyd.centroids, dtype=np.float32), float(energy)


def repair_empty(
    points: NDArray[np.float32], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Move centroids that no point has onto the points that are served worst.

    Args:
        points: float32 ``[N, D]``.
        centroids: float32 ``[k, D]``.

    Returns:
        float32 ``[k, D]``: every centroid has a point, unless there are fewer distinct points.

    Source: docs/groups.md.
    """
    centroids = centroids.copy()
    for _ in range(len(centroids)):
        codes = nearest(points, centroids)
        empty = np.flatnonzero(np.bincount(codes, minlength=len(centroids)) == 0)
        gaps = _squared(points - centroids[codes])
        if len(empty) == 0 or not gaps.any():
            break
        for code in empty:
            worst = np.argmax(gaps)
            centroids[code] = points[worst]
            gaps = np.minimum(gaps, _squared(points - points[worst]))
    return centroids


def _squared(gaps: NDArray[np.float32]) -> NDArray[np.float32]:
    squares: NDArray[np.float32] = np.sum(gaps * gaps, axis=1)
    return squares


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums taken by several threads differ in their last bits from run to run."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
