"""Groups: RQ-KMeans that is the same in every run and leaves no code unused."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.codebooks import nearest
from offline.groups import codes_per_level, diagnose, fit_groups, repair_empty


def users(rows: int = 3000, width: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors around twelve directions; each fiftieth user is unknown."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(12, width))
    vectors = centres[random.integers(12, size=rows)] + 0.4 * random.normal(size=(rows, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[::50] = 0.0
    return vectors.astype(np.float32)


@pytest.mark.parametrize(
    ("count", "levels", "codes"),
    [
        (0, 3, 4),
        (884, 3, 4),
        (100_000, 3, 10),
        (1_000_000, 3, 21),
        (10_000_000, 3, 46),
        (250_000_000, 3, 135),
        (1_700_000_000, 3, 256),
        (10_000_000_000, 3, 256),
        (1_000_000, 2, 100),
    ],
)
def test_sizing_rule(count: int, levels: int, codes: int) -> None:
    """Groups hold about a hundred users at any size, between 4 and 256 codes a level."""
    assert codes_per_level(count, levels) == codes


def test_equal_seeds_give_equal_bytes() -> None:
    """Two runs with one seed agree bit for bit, whatever number of threads is set around them."""
    before = faiss.omp_get_max_threads()
    first, _ = fit_groups(users(), levels=3, codes=8, seed=7)
    faiss.omp_set_num_threads(2)
    try:
        second, _ = fit_groups(users(), levels=3, codes=8, seed=7)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)
    assert first.centroids.tobytes() == second.centroids.tobytes()
    assert first.digest != fit_groups(users(), levels=3, codes=8, seed=8)[0].digest


def test_planted_groups_are_found() -> None:
    """Users around one direction share a code, users around different ones do not."""
    random = np.random.default_rng(4)
    centres = np.eye(6, 32, dtype=np.float32)
    label = random.integers(6, size=1200)
    vectors = (centres[label] + 0.05 * random.normal(size=(1200, 32))).astype(np.float32)
    codebooks, diagnostics = fit_groups(vectors, levels=1, codes=6, seed=0)
    codes = codebooks.assign(vectors)[:, 0]
    assert len({(a, b) for a, b in zip(label.tolist(), codes.tolist(), strict=True)}) == 6
    assert diagnostics[0].utilisation == 1.0
    assert diagnostics[0].perplexity == pytest.approx(6, abs=0.1)
    assert diagnostics[0].largest_share < 0.25


def test_unknown_users_take_no_part() -> None:
    """Users without facts neither shape the codebooks nor count in the diagnostics."""
    vectors = users()
    known = vectors[vectors.any(axis=1)]
    with_unknown, measured = fit_groups(vectors, levels=2, codes=5, seed=1)
    without, expected = fit_groups(known, levels=2, codes=5, seed=1)
    assert with_unknown.digest == without.digest
    assert measured == expected


def test_codes_follow_the_sizing_rule_by_default() -> None:
    """Without a number of codes the users that are known decide it."""
    assert fit_groups(users(), levels=3, codes=None, seed=0)[0].codes_per_level == 4


def test_too_few_users_are_refused() -> None:
    """More codes than known users is an error that says how to mend it."""
    vectors = np.zeros((50, 4), dtype=np.float32)
    vectors[:3] = np.eye(3, 4)
    with pytest.raises(ValueError, match="3 of 50 users have a profile, expected at least 4"):
        fit_groups(vectors, levels=3, codes=None, seed=0)


def test_fewer_distinct_users_than_codes_still_fit() -> None:
    """Many users with one of three profiles give three groups, not an error."""
    vectors = np.tile(np.eye(3, 8, dtype=np.float32), (40, 1))
    codebooks, diagnostics = fit_groups(vectors, levels=2, codes=4, seed=0)
    assert len(np.unique(codebooks.assign(vectors), axis=0)) == 3
    assert diagnostics[0].residual_energy == pytest.approx(0, abs=1e-9)
    assert np.isfinite(codebooks.centroids).all()


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
    points = users(200)
    np.testing.assert_array_equal(repair_empty(points, points[:7]), points[:7])


def test_diagnostics_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures over many chunks are those over one."""
    codebooks, expected = fit_groups(users(), levels=2, codes=5, seed=1)
    monkeypatch.setattr("offline.groups.CHUNK_ROWS", 17)
    for found, level in zip(diagnose(codebooks, users()), expected, strict=True):
        assert found.residual_energy == pytest.approx(level.residual_energy, rel=1e-9)
        assert found.perplexity == level.perplexity
