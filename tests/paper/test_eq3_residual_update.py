"""Eq. 3: the residual loses the chosen centroid, nothing is lost and each level explains more."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.codebooks import Codebooks
from offline.assignment import assign_all
from offline.groups import fit_groups


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 4))
def test_vector_is_centroids_plus_residual(seed: int, levels: int) -> None:
    """e_u = sum over levels of c_(m, id^m) + r^M."""
    random = np.random.default_rng(seed)
    made = Codebooks(random.normal(size=(levels, 5, 12)).astype(np.float32))
    users = random.normal(size=(30, 12)).astype(np.float32)
    codes = made.encode(users)
    rebuilt = made.decode(codes) + made.residuals(users, codes)
    np.testing.assert_allclose(rebuilt, users, atol=1e-5)


def test_residual_update_is_one_subtraction() -> None:
    """r^m = r^(m-1) - c_(m, id^m), bit for bit."""
    random = np.random.default_rng(2)
    made = Codebooks(random.normal(size=(3, 5, 12)).astype(np.float32))
    users = random.normal(size=(30, 12)).astype(np.float32)
    codes = made.encode(users)
    for level in range(3):
        before = made.residuals(users, codes[:, :level])
        after = made.residuals(users, codes[:, : level + 1])
        np.testing.assert_array_equal(after, before - made.centroids[level, codes[:, level]])


@pytest.mark.parametrize("seed", range(5))
def test_residual_energy_falls_with_each_level(seed: int, tmp_path: Path) -> None:
    """Fitted codebooks leave less unexplained at every level."""
    users = np.random.default_rng(seed).normal(size=(2000, 16)).astype(np.float32)
    fitted = fit_groups(users, levels=4, codes=6, seed=seed, checkpoints=tmp_path)
    energies = [1.0, *(level.residual_energy for level in assign_all(users, fitted, tmp_path))]
    assert all(after < before for before, after in pairwise(energies))
