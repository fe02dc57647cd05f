"""Item vectors: alike for items that the same users bought, and the same every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline.item_vectors import RMS, purchase_svd

USERS, ITEMS = 6, 8

purchases = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(2, ITEMS - 1)), min_size=0, max_size=40
)


def vectors(
    pairs: list[tuple[int, int]], width: int = 3, seed: int = 0, shape: tuple[int, int] = (6, 8)
) -> NDArray[np.float32]:
    """Vectors of purchases given as pairs of user and item row."""
    users, items = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return purchase_svd(users, items, shape, width, seed)


@given(purchases, st.integers(1, 10))
def test_equal_purchases_give_equal_bytes(pairs: list[tuple[int, int]], width: int) -> None:
    """Whatever the data's rank and the order of its rows, the vectors repeat to the byte."""
    found = vectors(pairs, width)
    assert found.shape == (ITEMS, width)
    assert found.dtype == np.float32
    assert found.tobytes() == vectors(pairs[::-1], width).tobytes()


@given(purchases, st.integers(1, 10))
def test_items_nobody_bought_are_zero(pairs: list[tuple[int, int]], width: int) -> None:
    """A row without purchases says nothing, PAD's and the unknown item's among them."""
    found = vectors(pairs, width)
    bought = {item for _, item in pairs}
    assert not found[[row for row in range(ITEMS) if row not in bought]].any()
    assert np.isfinite(found).all()


@given(purchases)
def test_vectors_are_as_large_as_trained_rows(pairs: list[tuple[int, int]]) -> None:
    """Entries of known items have the stated root mean square, where there is anything to say."""
    found = vectors(pairs)
    known = found[sorted({item for _, item in pairs})]
    assert not found.any() or np.sqrt(np.mean(known**2)) == pytest.approx(RMS, rel=1e-4)


@pytest.mark.parametrize("shape", [(6, 8), (40, 8)])
def test_products_of_vectors_are_those_of_the_weighted_counts(shape: tuple[int, int]) -> None:
    """With enough directions, two items are as alike as their damped, weighted buyers are."""
    rng = np.random.default_rng(0)
    pairs = [(int(u), int(i)) for u, i in rng.integers((0, 2), shape, size=(60, 2))]
    counts = np.zeros(shape)
    for user, item in pairs:
        counts[user, item] += 1
    buyers = (counts > 0).sum(axis=0)
    weighted = np.log1p(counts) * np.log((shape[0] + 1) / (buyers + 1))
    _, values, right = np.linalg.svd(weighted)
    rank = min(shape) - 1
    exact = right[:rank].T * values[:rank] @ right[:rank]
    found = vectors(pairs, width=rank, shape=shape).astype(np.float64)
    products = found @ found.T
    assert products / products.max() == pytest.approx(exact / exact.max(), abs=1e-5)


def test_equal_singular_values_give_equal_bytes() -> None:
    """Alike blocks of users leave the directions open; the seed closes them, every time."""
    pairs = [(user, 2 + user % 3 * 2 + half) for user in range(6) for half in (0, 1)]
    assert len({vectors(pairs, width=3).tobytes() for _ in range(5)}) == 1


def test_what_everybody_buys_fills_no_direction() -> None:
    """Items that all users bought alike carry no weight; alone they give zeros, not an error."""
    assert not vectors([(user, 2) for user in range(USERS)]).any()
