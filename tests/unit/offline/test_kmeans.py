"""K-means: as good as the field's own, deterministic, and no centroid without a point."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from model.codebooks import nearest
from offline.kmeans import draw_seeds, kmeans, repair_empty


def planted(rows: int = 3000, width: int = 32, centres: int = 16) -> NDArray[np.float32]:
    """Points around unequally popular directions."""
    random = np.random.default_rng(5)
    shares = 1 / np.arange(1, centres + 1)
    label = random.choice(centres, rows, p=shares / shares.sum())
    points = 2 * random.normal(size=(centres, width))[label] + random.normal(size=(rows, width))
    return points.astype(np.float32)


def energy(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> float:
    """Mean squared distance to the nearest centroid."""
    return float(np.mean(np.sum((points - centroids[nearest(points, centroids)]) ** 2, axis=1)))


def test_as_good_as_scikit_learn() -> None:
    """With one set of seeds each, no more than 2 % is left unexplained that scikit-learn saves."""
    points = planted()
    for seed in range(3):
        theirs = KMeans(16, n_init=1, random_state=seed).fit(points).cluster_centers_
        ours = kmeans(points, 16, seed, restarts=1)
        assert energy(points, ours) <= 1.02 * energy(points, theirs.astype(np.float32))


def test_restarts_never_leave_the_best_aside() -> None:
    """More restarts give a fit about as good or better, never a much worse one."""
    points = planted()
    once, often = (energy(points, kmeans(points, 16, 3, restarts)) for restarts in (1, 5))
    assert often <= 1.005 * once


@given(seed=st.integers(0, 100), codes=st.integers(1, 12))
@settings(max_examples=20)
def test_seeds_are_distinct_points(seed: int, codes: int) -> None:
    """Seeds are points, each drawn once while there are others that lie apart."""
    points = planted(200, 6, 4)
    seeds = draw_seeds(points, codes, np.random.default_rng(seed))
    matches = (seeds[:, None] == points[None]).all(axis=2)
    assert matches.any(axis=1).all()
    assert len(np.unique(seeds, axis=0)) == codes


def test_every_far_group_gets_a_seed() -> None:
    """However unequal the groups, a group that lies apart is not left without a centroid."""
    random = np.random.default_rng(0)
    label = np.repeat(np.arange(12), [500, 300, 200, 100, 60, 40, 30, 20, 15, 12, 10, 8])
    points = (20 * np.eye(12)[label] + random.normal(size=(len(label), 12))).astype(np.float32)
    for seed in range(5):
        found = nearest(points, kmeans(points, 12, seed, restarts=1))
        assert len({(a, b) for a, b in zip(label.tolist(), found.tolist(), strict=True)}) == 12


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), codes=st.integers(2, 12))
def test_empty_codes_are_repaired(seed: int, codes: int) -> None:
    """Whatever the fit left, every code has a user, and nobody is served worse."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(60, 5)).astype(np.float32)
    centroids = np.repeat(points[:1], codes, axis=0) + np.float32(50)
    centroids[0] = points.mean(axis=0)
    repaired = repair_empty(points, centroids)
    chosen = nearest(points, repaired)
    assert np.bincount(chosen, minlength=codes).min() > 0
    before = np.sum((points - centroids[nearest(points, centroids)]) ** 2)
    assert np.sum((points - repaired[chosen]) ** 2) < before


def test_repair_moves_to_the_worst_served() -> None:
    """The unused centroid goes where the residual is largest."""
    points = np.array([[0, 0], [0, 1], [9, 9]], dtype=np.float32)
    centroids = np.array([[0, 0.5], [100, 100]], dtype=np.float32)
    np.testing.assert_array_equal(repair_empty(points, centroids)[1], [9, 9])


def test_centroids_in_use_are_left_alone() -> None:
    """Repair changes nothing where nothing is broken."""
    points = planted(200)
    np.testing.assert_array_equal(repair_empty(points, points[:7]), points[:7])
