"""The vocabulary: which values have codes, where thresholds lie, and that both repeat."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.assembly import Catalogue
from model.spec import FeatureSpec, item_key
from offline.vocabulary import (
    MIN_VALUE_ITEMS,
    Columns,
    Sizes,
    build_catalogue,
    build_spec,
    user_rows,
)

SIZES = Sizes(history_len=4, group_len=5, levels=3, codes_per_level=6, n_min=7)
COLUMNS = Columns(
    discrete=("age",),
    continuous=("income",),
    categories=("l1", "leaf"),
    side=("brand",),
    clicks_count=True,
    profile_windows_days=(7, 30, 365),
)

texts = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "dä", "e\u2028f"]))
numbers = st.one_of(st.none(), st.floats(-1e6, 1e6))


def users_table(rows: list[tuple[str | None, float | None]]) -> pa.Table:
    """Canonical users with one attribute of each kind."""
    columns: dict[str, Any] = {
        "user_id": pa.array([f"u{n:03}" for n in range(len(rows))]),
        "age": pa.array([age for age, _ in rows], pa.string()),
        "income": pa.array([income for _, income in rows], pa.float64()),
    }
    return pa.table(columns)


def items_table(rows: list[tuple[str | None, str | None, str | None]]) -> pa.Table:
    """Canonical items with two category levels and a side field."""
    columns: dict[str, Any] = {
        "item_id": pa.array([f"i{n:03}" for n in range(len(rows))]),
        "text": pa.array([None] * len(rows), pa.string()),
    }
    for place, name in enumerate(("l1", "leaf", "brand")):
        columns[name] = pa.array([row[place] for row in rows], pa.string())
    return pa.table(columns)


USERS = users_table([("old", 1.0), (None, None), ("young", 3.0), ("old", 5.0)])
ITEMS = items_table([("x", "x1", None)] * 3 + [("y", None, "p"), ("x", "x1", "p")])


def spec_of(
    users: pa.Table = USERS, items: pa.Table = ITEMS, purchases: list[int] | None = None
) -> FeatureSpec:
    """The spec of tables."""
    counts = np.array([0, 1, 2, 3] if purchases is None else purchases, np.int64)
    return build_spec(users, items, COLUMNS, counts, SIZES)


@given(
    st.lists(st.tuples(texts, numbers), min_size=1, max_size=12),
    st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_equal_tables_give_equal_bytes(users: Any, items: Any, rng: Any) -> None:
    """A spec is a function of the values: chunks and orders of its tables do not show."""
    shuffled = rng.sample(items, len(items))
    halves = [users_table(users).slice(0, 1), users_table(users).slice(1)]
    counts = list(range(len(users)))
    first = spec_of(users_table(users), items_table(items), counts)
    second = spec_of(pa.concat_tables(halves), items_table(shuffled), counts[::-1])
    assert first.to_json().encode() == second.to_json().encode()
    assert FeatureSpec.from_json(first.to_json()) == first


@pytest.mark.parametrize(
    "change", [{"clicks_count": False}, {"profile_windows_days": (7, 30, 366)}]
)
def test_what_events_mean_is_part_of_the_contract(change: dict[str, Any]) -> None:
    """A log whose clicks or profile windows mean something else has another feature contract."""
    columns = replace(COLUMNS, **change)
    other = build_spec(USERS, ITEMS, columns, np.array([0, 1, 2, 3], np.int64), SIZES)
    assert other.digest != spec_of().digest


@pytest.mark.parametrize("name", ["TOP_CATEGORIES", "ITEMS_PER_CATEGORY", "FEATURE_DEFINITIONS"])
def test_how_features_are_made_is_part_of_the_contract(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that makes group sequences, or any feature, otherwise has another feature contract."""
    before = spec_of().digest
    monkeypatch.setattr(f"offline.vocabulary.{name}", 99)
    assert spec_of().digest != before


def test_a_rare_item_value_has_no_code() -> None:
    """A category or brand on fewer than three items is out of vocabulary; one on three is not."""
    spec = spec_of()
    assert MIN_VALUE_ITEMS == 3
    assert [field.values for field in spec.item_fields] == [("x",), ("x1",), ()]
    assert [field.code("p") for field in spec.side] == [1]


def test_every_attribute_value_has_a_code() -> None:
    """What a single user says of itself has a code; missing has none."""
    (age,) = spec_of().attributes
    assert age.values == ("old", "young")
    assert (age.code(None), age.code("unheard of"), age.code("old")) == (0, 1, 2)


def test_missing_everywhere_is_accepted() -> None:
    """Columns without a single value, and items without text, make a spec that works."""
    spec = spec_of(users_table([(None, None)] * 4), items_table([(None, None, None)] * 3))
    assert [field.values for field in (*spec.attributes, *spec.item_fields)] == [()] * 4
    assert [(field.mean, field.std) for field in spec.continuous] == [(0.0, 1.0)]
    catalogue = build_catalogue(spec, items_table([(None, None, None)] * 3))
    assert not catalogue.codes.any()


def test_continuous_fields_have_the_moments_of_known_values() -> None:
    """Mean and deviation leave missing values out; a constant column divides by one."""
    (income,) = spec_of().continuous
    assert income.mean == 3.0
    assert income.std == pytest.approx(float(np.std([1.0, 3.0, 5.0])))
    (constant,) = spec_of(users_table([("a", 7.0)] * 4)).continuous
    assert (constant.mean, constant.std) == (7.0, 1.0)


def test_thresholds_are_purchases_that_somebody_made() -> None:
    """Of a hundred users with 0 to 99 purchases the lowest 55 are low-activity, 20 per level."""
    spec = spec_of(users_table([("a", 1.0)] * 100), purchases=list(range(100)))
    assert spec.low_activity_purchases == 54
    assert spec.level_thresholds == (19, 39, 59, 79)
    assert [spec.activity_level(n) for n in (0, 19, 20, 79, 80, 99)] == [1, 1, 2, 4, 5, 5]


def test_users_who_never_buy_are_all_low() -> None:
    """Where most users have no purchase the threshold is none, and level 1 holds them all."""
    spec = spec_of(users_table([("a", 1.0)] * 10), purchases=[0] * 9 + [5])
    assert spec.low_activity_purchases == 0
    assert spec.level_thresholds == (0, 0, 0, 0)
    assert (spec.activity_level(0), spec.activity_level(1)) == (1, 5)


def test_sizes_are_taken_over() -> None:
    """The spec has the sizes it was given and the columns in their order."""
    spec = spec_of()
    found = (spec.history_len, spec.group_len, spec.levels, spec.codes_per_level, spec.n_min)
    assert found == (4, 5, 3, 6, 7)
    assert [field.name for field in spec.item_fields] == ["l1", "leaf", "brand"]
    assert [field.name for field in spec.context] == ["hour", "weekday"]


@given(st.integers(0, 10**8))
def test_the_user_table_is_bounded(users: int) -> None:
    """It has a power of two of rows: at least twice the users until it reaches its bound."""
    rows = user_rows(users)
    assert rows & (rows - 1) == 0
    assert 1024 <= rows <= 2**22
    assert rows >= 2 * users or rows == 2**22
    assert rows == 1024 or rows < 4 * users


def test_the_catalogue_is_sorted_by_key_and_keeps_each_items_codes() -> None:
    """An item's row is found by its key and holds its own codes."""
    spec = spec_of()
    catalogue = build_catalogue(spec, ITEMS)
    assert (np.diff(catalogue.keys.astype(object)) > 0).all()
    assert _codes(catalogue, "i000") == [2, 2, 0]
    assert _codes(catalogue, "i003") == [1, 0, 1]
    assert _codes(catalogue, "i004") == [2, 2, 1]


def test_two_items_of_one_key_are_refused() -> None:
    """Items that no record could tell apart are an error, not a silent mix-up."""
    twice = pa.concat_tables([ITEMS, ITEMS.slice(0, 1)])
    with pytest.raises(ValueError, match="share a 64-bit key"):
        build_catalogue(spec_of(), twice)


def _codes(catalogue: Catalogue, item_id: str) -> list[int]:
    row = int(catalogue.rows(np.array([item_key(item_id)], np.uint64))[0]) - 2
    codes: list[int] = catalogue.codes[row].tolist()
    return codes
