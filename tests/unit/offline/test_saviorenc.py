"""SaviorEnc-lite: what is bought together lies together, the same every time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.assembly import Catalogue
from offline.histories import EventLog, item_keys
from offline.saviorenc import (
    WINDOW_S,
    CoPurchases,
    EncodedItems,
    contrast,
    encode_items,
    residual_codes,
)
from tests.baselines import histories

ITEMS = 24
IDS = [f"item{n}" for n in range(ITEMS)]
KEYS = item_keys(pa.chunked_array([pa.array(IDS)]))
CATALOGUE = Catalogue(np.sort(KEYS), np.zeros((ITEMS, 0), np.int32))
TABLE = pa.table({"item_id": IDS, "text": [*[f"text {n}" for n in range(ITEMS - 1)], None]})


class Stub:
    """An encoder of unit vectors drawn by each text's own number."""

    identity = "stub"
    width = 6

    def encode(self, texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """One vector per text, zero for an empty one."""
        drawn = [
            np.random.default_rng(int(text.split()[1])).normal(size=6) if text else np.zeros(6)
            for text in texts
        ]
        vectors = np.array(drawn, np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return vectors


def log_of(rows: Sequence[tuple[int, int, int]], users: int = 60) -> EventLog:
    """Purchases given as (user, time, item number)."""
    user, time, item = np.array(rows or np.zeros((0, 3)), np.int64).reshape(-1, 3).T
    return EventLog.build(user, time, KEYS[item], users)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for two dozen items."""
    monkeypatch.setattr("offline.saviorenc.STEPS", 250)
    monkeypatch.setattr("offline.saviorenc.BATCH", 48)


def encoded(before_s: int = 1000) -> EncodedItems:
    """Items encoded from users who buy either of two kinds only."""
    rng = np.random.default_rng(1)
    rows = [
        (user, n, int(2 * rng.integers(0, ITEMS // 2)) + user % 2)
        for user in range(60)
        for n in range(12)
    ]
    late = [(user, 2000, user % ITEMS) for user in range(60)]
    purchases = histories(log_of([*rows, *late]))
    return encode_items(TABLE, CATALOGUE, purchases, before_s, Stub(), seed=3)


def test_what_is_bought_together_lies_together() -> None:
    """Items of one kind are more alike than items of two kinds, whatever their texts say."""
    found = encoded()
    vectors = found.vectors[CATALOGUE.rows(KEYS)]
    alike = vectors @ vectors.T
    kind = np.arange(ITEMS) % 2
    same = kind == kind[:, None]
    real = (alike != 0) & ~np.eye(ITEMS, dtype=bool)
    assert alike[same & real].mean() > alike[~same & real].mean() + 0.1


def test_unknown_items_and_those_without_text_are_zero() -> None:
    """PAD, the unknown item and an item without text have no vector and the code k."""
    found = encoded()
    nothing = [0, 1, int(CATALOGUE.rows(KEYS[-1:])[0])]
    known = np.setdiff1d(np.arange(ITEMS + 2), nothing)
    assert not found.vectors[nothing].any()
    np.testing.assert_allclose(np.linalg.norm(found.vectors[known], axis=1), 1.0, rtol=1e-5)
    assert (found.codes[nothing] == 5).all()
    assert found.codes[known].max() < 5


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    """Encoding repeats to the byte, also after being saved and loaded."""
    first, again = encoded(), encoded()
    again.save(tmp_path)
    again = EncodedItems.load(tmp_path)
    assert first.vectors.tobytes() == again.vectors.tobytes()
    assert first.codes.tobytes() == again.codes.tobytes()


def test_purchases_from_training_on_do_not_count() -> None:
    """What is bought later changes nothing."""
    assert encoded(before_s=1000).vectors.tobytes() == encoded(before_s=2000).vectors.tobytes()
    assert encoded(before_s=1000).vectors.tobytes() != encoded(before_s=2001).vectors.tobytes()


purchases = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3 * WINDOW_S), st.integers(0, ITEMS - 1)),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(purchases, st.integers(0, 3 * WINDOW_S))
def test_pairs_are_of_one_user_within_a_week(
    rows: list[tuple[int, int, int]], before_s: int
) -> None:
    """Every pair is two items that some user bought within seven days, before training."""
    found = CoPurchases.before(CATALOGUE, histories(log_of(rows)), before_s)
    past = [row for row in rows if row[1] < before_s]
    row_of = {n: int(row) for n, row in enumerate(CATALOGUE.rows(KEYS))}
    allowed = {
        (row_of[first[2]], row_of[second[2]])
        for first in past
        for second in past
        if first[0] == second[0] and 0 <= second[1] - first[1] <= WINDOW_S
    }
    drawn = found.pairs(np.random.default_rng(0)).tolist()
    assert all(tuple(pair) in allowed and pair[0] != pair[1] for pair in drawn)
    assert len(found.items) == len(past)


def test_a_pairs_own_items_are_no_negatives() -> None:
    """A batch of one pair many times over has nothing to tell apart: its loss is zero."""
    left, right = torch.eye(4)[[0, 0, 0]], torch.eye(4)[[1, 1, 1]]
    rows = torch.tensor([5, 5, 5])
    assert float(contrast(left, right, rows, rows + 1)) == 0.0
    assert float(contrast(left, right, rows, torch.tensor([6, 7, 6]))) > 0.0


@pytest.mark.parametrize("known", [0, 1, 3])
def test_a_catalogue_with_little_text_still_has_codes(known: int) -> None:
    """A few items with text, or none, are no error."""
    vectors = np.zeros((9, 64), np.float32)
    vectors[2 : 2 + known, 0] = np.arange(1, known + 1)
    codes = residual_codes(vectors, seed=0)
    assert codes.shape == (9, 3)
    assert (codes[:2] == 1).all()
    assert (codes[2 : 2 + known] == 0).all()
