"""Eq. 2: at every level the code is the centroid nearest to the residual."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.codebooks import Codebooks


@given(
    seed=st.integers(0, 10_000),
    levels=st.integers(1, 4),
    codes=st.integers(1, 9),
    rows=st.integers(1, 20),
)
def test_code_is_argmin_of_squared_distance(seed: int, levels: int, codes: int, rows: int) -> None:
    """id^m = argmin_k ||r^(m-1) - c_(m,k)||^2, written out user by user and code by code."""
    random = np.random.default_rng(seed)
    centroids = random.normal(size=(levels, codes, 6)).astype(np.float32)
    users = random.normal(size=(rows, 6)).astype(np.float32)
    found = Codebooks(centroids).encode(users)
    for user, group_id in zip(users, found, strict=True):
        residual = user
        for level, code in enumerate(group_id):
            distances = [
                sum((float(r) - float(c)) ** 2 for r, c in zip(residual, centroid, strict=True))
                for centroid in centroids[level]
            ]
            assert code == int(np.argmin(distances))
            residual = residual - centroids[level, code]
