"""Groups: RQ-KMeans over user vectors, fitted once and frozen as codebooks."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.array_file import read_array, write_array
from model.codebooks import Codebooks
from offline.kmeans import kmeans
from offline.progress import track
from offline.vectors import Vectors, fingerprint

USERS_PER_GROUP = 100
MIN_CODES = 4
MAX_CODES = 256
POINTS_PER_CENTROID = 256
MIN_POINTS = 16_384
RESTARTS = 5
_ROWS_AT_ONCE = 65_536


def codes_per_level(users: int, levels: int) -> int:
    """The sizing rule: about 100 users per full group_id.

    Args:
        users: users to be grouped.
        levels: levels M.

    Returns:
        k in ``[4, 256]``.

    Source: docs/groups.md.
    """
    # The small addend keeps exact roots exact: 1000 ** (1 / 3) is 9.999...
    root = (users / USERS_PER_GROUP) ** (1 / levels)
    return int(np.clip(np.floor(root + 1e-9), MIN_CODES, MAX_CODES))


def fit_groups(
    vectors: Vectors,
    levels: int,
    codes: int | None,
    seed: int,
    checkpoints: Path,
    restarts: int = RESTARTS,
) -> Codebooks:
    """Fit RQ-KMeans, level by level, on samples of 256 users per code, and 16,384 at least.

    Args:
        vectors: float32 ``[N, D]``; zero rows (nothing known) have no group and are left out.
        levels: levels M.
        codes: codes per level k; None takes the sizing rule.
        seed: equal seeds and vectors give equal bytes.
        checkpoints: a folder, made when missing. Every finished level is kept there under the
            digest of what it depends on, and a fit that was killed goes on from it, to equal bytes.
        restarts: sets of seeds tried per level.

    Returns:
        The codebooks.

    Raises:
        ValueError: when fewer users than codes have a vector that is not zero.

    Source: eq. 2-3.
    """
    known = _known(vectors)
    codes = codes_per_level(len(known), levels) if codes is None else codes
    if len(known) < codes:
        raise ValueError(
            f"{len(known)} of {vectors.shape[0]} users have a vector, expected at least {codes},"
            " the codes per level: lower the number of codes or bring more users; users have none"
            " of whom nothing is known, or whose profiles do not differ from each other"
        )
    centroids = np.empty((0, codes, vectors.shape[1]), dtype=np.float32)
    for level in track(range(levels), "groups"):
        points, level_seed = _sample(vectors, known, centroids, codes, (seed, level))
        path = checkpoints / f"{_identity(points, codes, level_seed, restarts)}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_array(path, kmeans(points, codes, level_seed, restarts))
        centroids = np.concatenate([centroids, read_array(path)[None]])
    return Codebooks(centroids)


def _known(vectors: Vectors) -> NDArray[np.int64]:
    """Positions of the users of whom anything is known."""
    starts = range(0, vectors.shape[0], _ROWS_AT_ONCE)
    found = [
        start + np.flatnonzero(vectors[start : start + _ROWS_AT_ONCE].any(axis=1))
        for start in track(starts, "known users")
    ]
    return np.concatenate([np.empty(0, np.int64), *found])


def _sample(
    vectors: Vectors,
    known: NDArray[np.int64],
    centroids: NDArray[np.float32],
    codes: int,
    seeds: tuple[int, int],
) -> tuple[NDArray[np.float32], int]:
    """Residuals of a sample of users before the next level, and a seed for it."""
    random = np.random.default_rng(seeds)
    size = min(len(known), max(codes * POINTS_PER_CENTROID, MIN_POINTS))
    chosen = np.sort(random.choice(known, size, replace=False))
    points = np.ascontiguousarray(vectors[chosen])
    if len(centroids):
        fitted = Codebooks(centroids)
        points = fitted.residuals(points, fitted.encode(points))
    return points, int(random.integers(2**31))


def _identity(points: NDArray[np.float32], codes: int, seed: int, restarts: int) -> str:
    """What the centroids of a level depend on, as a few letters."""
    told = repr((fingerprint(points), codes, seed, restarts))
    return sha256(told.encode()).hexdigest()[:16]
