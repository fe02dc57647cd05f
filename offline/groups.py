"""Groups: RQ-KMeans over user vectors, fitted once and frozen as codebooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from model.codebooks import CHUNK_ROWS, Codebooks, nearest
from offline.progress import track

USERS_PER_GROUP = 100
MIN_CODES = 4
MAX_CODES = 256
POINTS_PER_CENTROID = 256
ITERATIONS = 50
RESTARTS = 5


@dataclass(frozen=True)
class LevelDiagnostics:
    """How well one level divides the users that have a group."""

    level: int
    residual_energy: float
    """Energy left after this level over the energy of the vectors; falls from level to level."""
    utilisation: float
    """Share of the codes that somebody has."""
    perplexity: float
    """Codes in effective use: exp of the entropy of the code."""
    largest_share: float
    """Share of users with the most frequent code."""


def codes_per_level(users: int, levels: int) -> int:
    """The sizing rule: about 100 users per full group_id.

    Args:
        users: users to be grouped.
        levels: levels M.

    Returns:
        k in ``[4, 256]``.

    Source: model-spec 4.4.
    """
    # The small addend keeps exact roots exact: 1000 ** (1 / 3) is 9.999...
    root = (users / USERS_PER_GROUP) ** (1 / levels)
    return int(np.clip(np.floor(root + 1e-9), MIN_CODES, MAX_CODES))


def fit_groups(
    vectors: NDArray[np.float32], levels: int, codes: int | None, seed: int
) -> tuple[Codebooks, tuple[LevelDiagnostics, ...]]:
    """Fit RQ-KMeans, level by level, on samples of 256 users per code.

    Args:
        vectors: float32 ``[N, D]``; zero rows (nothing known) have no group and are left out.
        levels: levels M.
        codes: codes per level k; None takes the sizing rule.
        seed: equal seeds and vectors give equal bytes.

    Returns:
        The codebooks, and diagnostics per level over all users that have a group.

    Raises:
        ValueError: when fewer users than codes have anything known.

    Source: eq. 2-3.
    """
    known = np.flatnonzero(vectors.any(axis=1))
    codes = codes_per_level(len(known), levels) if codes is None else codes
    if len(known) < codes:
        raise ValueError(
            f"{len(known)} of {len(vectors)} users have a profile, expected at least {codes}, the"
            " codes per level: lower the number of codes or bring more users"
        )
    centroids = np.empty((0, codes, vectors.shape[1]), dtype=np.float32)
    for level in track(range(levels), "groups"):
        points, level_seed = _sample(vectors, known, centroids, codes, (seed, level))
        centroids = np.concatenate([centroids, _fit_level(points, codes, level_seed)[None]])
    codebooks = Codebooks(centroids)
    return codebooks, diagnose(codebooks, vectors)


def diagnose(codebooks: Codebooks, vectors: NDArray[np.float32]) -> tuple[LevelDiagnostics, ...]:
    """Measure how codebooks divide users.

    Args:
        codebooks: the codebooks.
        vectors: float32 ``[N, D]``, at least one row not zero.

    Returns:
        Diagnostics per level, over the users that have a group.

    Source: model-spec 4.3.
    """
    energy = np.zeros(codebooks.levels + 1)
    counts = np.zeros((codebooks.levels, codebooks.codes_per_level), dtype=np.int64)
    for start in range(0, len(vectors), CHUNK_ROWS):
        chunk = vectors[start : start + CHUNK_ROWS]
        chunk = chunk[chunk.any(axis=1)]
        codes = codebooks.encode(chunk)
        for level in range(codebooks.levels + 1):
            residual = codebooks.residuals(chunk, codes[:, :level]).astype(np.float64)
            energy[level] += np.sum(residual * residual)
        for level in range(codebooks.levels):
            counts[level] += np.bincount(codes[:, level], minlength=counts.shape[1])
    shares = counts / counts.sum(axis=1, keepdims=True)
    return tuple(
        _level(level + 1, energy[level + 1] / energy[0], shares[level])
        for level in range(codebooks.levels)
    )


def _level(level: int, residual_energy: float, shares: NDArray[np.float64]) -> LevelDiagnostics:
    used = shares[shares > 0]
    return LevelDiagnostics(
        level=level,
        residual_energy=float(residual_energy),
        utilisation=len(used) / len(shares),
        perplexity=float(np.exp(-np.sum(used * np.log(used)))),
        largest_share=float(used.max()),
    )


def _sample(
    vectors: NDArray[np.float32],
    known: NDArray[np.int64],
    centroids: NDArray[np.float32],
    codes: int,
    seeds: tuple[int, int],
) -> tuple[NDArray[np.float32], int]:
    """Residuals of a sample of users before the next level, and a seed for it."""
    random = np.random.default_rng(seeds)
    size = min(len(known), codes * POINTS_PER_CENTROID)
    chosen = np.sort(random.choice(known, size, replace=False))
    points = np.ascontiguousarray(vectors[chosen])
    if len(centroids):
        fitted = Codebooks(centroids)
        points = fitted.residuals(points, fitted.encode(points))
    return points, int(random.integers(2**31))


def _fit_level(points: NDArray[np.float32], codes: int, seed: int) -> NDArray[np.float32]:
    """Centroids float32 ``[k, D]`` of one level."""
    kmeans = faiss.Kmeans(
        points.shape[1],
        codes,
        niter=ITERATIONS,
        nredo=RESTARTS,
        seed=seed,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    with _one_thread():
        kmeans.train(points)
    return repair_empty(points, np.asarray(kmeans.centroids, dtype=np.float32))


def repair_empty(
    points: NDArray[np.float32], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Move centroids that no point has onto the points that are served worst.

    Args:
        points: float32 ``[N, D]``.
        centroids: float32 ``[k, D]``.

    Returns:
        float32 ``[k, D]``: every centroid has a point, unless there are fewer distinct points.

    Source: model-spec row 53.
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
