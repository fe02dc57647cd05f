"""Residuals: a confidence that falls with distance and is the same alone and in a batch."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.codebooks import Codebooks
from model.residuals import ResidualReference


def codebooks() -> Codebooks:
    """Random codebooks of two levels."""
    return Codebooks(np.random.default_rng(1).normal(size=(2, 6, 8)).astype(np.float32))


def vectors(rows: int, seed: int = 2) -> NDArray[np.float32]:
    """Random vectors."""
    return np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)


def norms(users: NDArray[np.float32]) -> NDArray[np.float32]:
    """Residual norms of users by ``codebooks``."""
    return codebooks().residual_norms(users, codebooks().assign(users))


def test_norms_are_those_of_the_residuals() -> None:
    """A residual norm is the length of what the centroids leave unexplained, level by level."""
    users = vectors(50)
    codes = codebooks().assign(users)
    for level in (1, 2):
        left = codebooks().residuals(users, codes[:, :level])
        expected = np.linalg.norm(left.astype(np.float64), axis=1)
        np.testing.assert_allclose(norms(users)[:, level - 1], expected, rtol=1e-6)


@given(rows=st.integers(1, 40), seed=st.integers(0, 100))
def test_confidence_alone_is_that_in_a_batch(rows: int, seed: int) -> None:
    """A user alone in a request is as sure of a group as among everybody offline."""
    reference, users = ResidualReference.of(norms(vectors(500))), vectors(rows, seed)
    together = reference.confidence(norms(users))
    alone = np.concatenate([reference.confidence(norms(users[[row]])) for row in range(rows)])
    assert together.tobytes() == alone.tobytes()


def test_confidence_is_the_share_of_reference_users_at_least_as_far() -> None:
    """The nearest user of the fit has confidence 1, the median one half, a far stranger 0."""
    fitted = np.linspace(0, 10, 1001, dtype=np.float32)[:, None]
    asked = np.array([[0], [2.5], [5], [7.5], [9.9], [11]], dtype=np.float32)
    found = ResidualReference.of(fitted).confidence(asked)
    np.testing.assert_allclose(found, [1, 0.75, 0.5, 0.25, 0.01, 0], atol=0.011)


@given(st.lists(st.floats(0, 4, width=32), min_size=2, max_size=30))
def test_confidence_never_rises_with_distance(distances: list[float]) -> None:
    """Whoever lies farther from the centroids is never called surer."""
    asked = np.sort(np.array(distances, dtype=np.float32))[:, None]
    found = ResidualReference.of(norms(vectors(300))[:, 1:]).confidence(asked)
    assert (np.diff(found) <= 0).all()
    assert (found >= 0).all()
    assert (found <= 1).all()


def test_equal_residuals_are_all_sure() -> None:
    """Where every user lay on a centroid, one who does too is sure, one who does not is not."""
    reference = ResidualReference.of(np.zeros((20, 1), dtype=np.float32))
    assert reference.confidence(np.array([[0], [0.1]], dtype=np.float32)).tolist() == [1, 0]


def test_a_user_without_a_group_has_no_confidence() -> None:
    """Nothing known: norms are NaN, confidence is 0, and the reference is not touched by it."""
    users = vectors(40)
    users[3] = 0
    found = norms(users)
    assert np.isnan(found[3]).all()
    reference = ResidualReference.of(found)
    assert reference.confidence(found)[3] == 0
    without = ResidualReference.of(np.delete(found, 3, axis=0))
    assert reference.quantiles.tobytes() == without.quantiles.tobytes()


def test_saved_references_are_read_again(tmp_path: Path) -> None:
    """Save and load: equal quantiles, equal bytes on disk, nothing left beside them."""
    reference = ResidualReference.of(norms(vectors(200)))
    reference.save(tmp_path)
    written = (tmp_path / "residual_quantiles.npy").read_bytes()
    ResidualReference.load(tmp_path).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["residual_quantiles.npy"]
    assert (tmp_path / "residual_quantiles.npy").read_bytes() == written


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 101)), "float64"),
        (np.zeros((2, 100), np.float32), r"expected float32 \[M, 101\]"),
        (np.full((1, 101), np.nan, np.float32), "finite"),
        (np.linspace(1, 0, 101, dtype=np.float32)[None], "not fall"),
    ],
)
def test_what_is_no_reference_is_refused(
    tmp_path: Path, bad: NDArray[np.float32], message: str
) -> None:
    """A damaged file never becomes a confidence."""
    np.save(tmp_path / "residual_quantiles.npy", bad)
    with pytest.raises(ValueError, match=message):
        ResidualReference.load(tmp_path)
