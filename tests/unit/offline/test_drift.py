"""Drift: silence while users stay where they were, advice once they have moved away."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.residuals import ResidualReference
from offline.drift import measure_drift


def norms(users: int, factor: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    """Residual norms of two levels; each twentieth user has no group."""
    random = np.random.default_rng(seed)
    drawn = factor * random.normal([0.9, 0.8], 0.05, size=(users, 2))
    drawn[::20] = np.nan
    return drawn.astype(np.float32)


REFERENCE = ResidualReference.of(norms(5000))


def test_nothing_changed_is_no_drift() -> None:
    """Other users of the same kind: medians as fitted, one in twenty far, no advice."""
    drift = measure_drift(REFERENCE, norms(3000, seed=1))
    assert drift.median_ratio == pytest.approx((1, 1), abs=0.01)
    assert drift.far_share == pytest.approx(0.05, abs=0.015)
    assert drift.mean_confidence == pytest.approx(0.5, abs=0.02)
    assert drift.users == 2850
    assert not drift.refit


def test_users_that_moved_away_call_for_a_refit() -> None:
    """Residuals a tenth longer put most users beyond what was usual: fit again."""
    drift = measure_drift(REFERENCE, norms(3000, 1.1))
    assert drift.median_ratio == pytest.approx((1.1, 1.1), abs=0.01)
    assert drift.far_share > 0.3
    assert drift.mean_confidence < 0.3
    assert drift.refit


def test_users_that_came_nearer_do_not() -> None:
    """Shorter residuals are drift too, but no reason to fit again."""
    drift = measure_drift(REFERENCE, norms(3000, 0.9))
    assert drift.mean_confidence > 0.7
    assert not drift.refit


def test_perfect_codebooks_have_no_ratio() -> None:
    """Where the reference lay on its centroids, a ratio is not defined, and that is said."""
    drift = measure_drift(
        ResidualReference.of(np.zeros((9, 1), np.float32)), np.ones((4, 1), np.float32)
    )
    assert drift.median_ratio == (None,)
    assert drift.far_share == 1
    assert drift.refit
