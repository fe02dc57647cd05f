"""Groups: RQ-KMeans that is the same in every run, killed in between or not."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

import offline.groups
from model.codebooks import Codebooks
from offline.groups import codes_per_level, fit_groups
from offline.kmeans import kmeans


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


def fit(
    folder: Path, vectors: NDArray[np.float32], codes: int | None, seed: int = 0, levels: int = 3
) -> Codebooks:
    """Fit without earlier checkpoints."""
    return fit_groups(vectors, levels, codes, seed, folder / f"{seed}-{levels}-{len(vectors)}")


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    """Two runs with one seed agree bit for bit, whatever number of threads is set around them."""
    before = faiss.omp_get_max_threads()
    first = fit(tmp_path / "first", users(), codes=8, seed=7)
    faiss.omp_set_num_threads(2)
    try:
        second = fit(tmp_path / "second", users(), codes=8, seed=7)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)
    assert first.centroids.tobytes() == second.centroids.tobytes()
    assert first.digest != fit(tmp_path, users(), codes=8, seed=8).digest


def test_planted_groups_are_found(tmp_path: Path) -> None:
    """Users around one direction share a code, users around different ones do not."""
    random = np.random.default_rng(4)
    centres = np.eye(6, 32, dtype=np.float32)
    label = random.integers(6, size=1200)
    vectors = (centres[label] + 0.05 * random.normal(size=(1200, 32))).astype(np.float32)
    codes = fit(tmp_path, vectors, codes=6, levels=1).assign(vectors)[:, 0]
    assert len({(a, b) for a, b in zip(label.tolist(), codes.tolist(), strict=True)}) == 6


def test_unknown_users_take_no_part(tmp_path: Path) -> None:
    """Users without facts do not shape the codebooks."""
    vectors = users()
    known = vectors[vectors.any(axis=1)]
    with_unknown = fit(tmp_path, vectors, codes=5, seed=1)
    assert with_unknown.digest == fit(tmp_path, known, codes=5, seed=1).digest


def test_codes_follow_the_sizing_rule_by_default(tmp_path: Path) -> None:
    """Without a number of codes the users that are known decide it."""
    assert fit(tmp_path, users(), codes=None).codes_per_level == 4


def test_too_few_users_are_refused(tmp_path: Path) -> None:
    """More codes than known users is an error that says how to mend it."""
    vectors = np.zeros((50, 4), dtype=np.float32)
    vectors[:3] = np.eye(3, 4)
    with pytest.raises(ValueError, match="3 of 50 users have a vector, expected at least 4"):
        fit(tmp_path, vectors, codes=None)
    assert not list(tmp_path.iterdir())


def test_profiles_that_are_all_equal_are_named_as_the_cause(tmp_path: Path) -> None:
    """Whoever has profiles and no vectors is not told that there are no profiles."""
    with pytest.raises(ValueError, match=r"0 of 9 users have a vector.* do not differ from each"):
        fit(tmp_path, np.zeros((9, 4), np.float32), codes=4)


def test_fewer_distinct_users_than_codes_still_fit(tmp_path: Path) -> None:
    """Many users with one of three profiles give three groups, not an error."""
    vectors = np.tile(np.eye(3, 8, dtype=np.float32), (40, 1))
    codebooks = fit(tmp_path, vectors, codes=4, levels=2)
    assert len(np.unique(codebooks.assign(vectors), axis=0)) == 3
    assert np.isfinite(codebooks.centroids).all()


@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_killed_fit_goes_on_at_its_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Levels that were finished are not fitted again, and the bytes are those of one run."""
    whole = fit_groups(users(), 3, 6, 0, tmp_path / "whole")
    fitted: list[int] = []

    def counted(points: NDArray[np.float32], codes: int, seed: int, restarts: int) -> object:
        if len(fitted) == killed_at:
            raise KeyboardInterrupt
        fitted.append(seed)
        return kmeans(points, codes, seed, restarts)

    with monkeypatch.context() as patched:
        patched.setattr(offline.groups, "kmeans", counted)
        with pytest.raises(KeyboardInterrupt):
            fit_groups(users(), 3, 6, 0, tmp_path / "killed")
    assert len(list((tmp_path / "killed").glob("*"))) == killed_at

    def rest(points: NDArray[np.float32], codes: int, seed: int, restarts: int) -> object:
        assert seed not in fitted
        return kmeans(points, codes, seed, restarts)

    monkeypatch.setattr(offline.groups, "kmeans", rest)
    resumed = fit_groups(users(), 3, 6, 0, tmp_path / "killed")
    assert resumed.centroids.tobytes() == whole.centroids.tobytes()


def test_checkpoints_of_another_fit_are_not_used(tmp_path: Path) -> None:
    """One folder for two fits mixes nothing up: levels stand under what they depend on."""
    for seed, codes in ((1, 5), (2, 5), (1, 6)):
        shared = fit_groups(users(), 2, codes, seed, tmp_path / "shared")
        alone = fit_groups(users(), 2, codes, seed, tmp_path / f"{seed}-{codes}")
        assert shared.digest == alone.digest
