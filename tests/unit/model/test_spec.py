"""The feature spec: codes, hashes and the contract that follows from it."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.spec import (
    AGE_BUCKETS,
    FIRST_CODE,
    OOV,
    PAD,
    SECONDS_PER_DAY,
    ContinuousField,
    DiscreteField,
    FeatureSpec,
    age_buckets,
    context_fields,
    feature_contract,
    hour_and_weekday,
    item_key,
    user_row,
)
from tests.synthetic import feature_spec

SPEC = feature_spec()
FIELD = DiscreteField("tier", ("low", "é", ""))


def test_codes_keep_missing_and_unseen_apart() -> None:
    """None is missing, an unseen value is out of vocabulary, known values follow in order."""
    assert [FIELD.code(v) for v in (None, "high", "low", "é", "")] == [PAD, OOV, 2, 3, 4]
    assert FIELD.size == 5


def test_a_spec_is_read_back_as_written() -> None:
    """A spec survives its JSON, digest included."""
    again = FeatureSpec.from_json(SPEC.to_json())
    assert again == SPEC
    assert again.digest == SPEC.digest
    assert again.to_json() == SPEC.to_json()


CHANGES: dict[str, Any] = {
    "attributes": (DiscreteField("age", ("x",)), *SPEC.attributes[1:]),
    "continuous": (ContinuousField("income", 0.0, 2.0),),
    "context": context_fields()[:1],
    "categories": SPEC.categories[::-1],
    "side": (),
    "user_rows": 41,
    "min_user_rows": 3,
    "history_len": 7,
    "group_len": 6,
    "levels": 2,
    "codes_per_level": 5,
    "n_min": 3,
    "activity_window_days": 7,
    "low_activity_purchases": 1,
    "level_thresholds": (1, 2, 4, 9),
    "clicks_count": False,
    "profile_windows_days": (7, 14, 29),
    "group_categories": 21,
    "items_per_category": 4,
    "definitions": 0,
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_counts_for_the_digest(name: str) -> None:
    """Changing any single definition changes the digest, so skew is found out."""
    assert replace(SPEC, **{name: CHANGES[name]}).digest != SPEC.digest


def test_every_definition_is_tried() -> None:
    """The list of changes above covers every field of a spec."""
    assert set(CHANGES) == set(FeatureSpec.__dataclass_fields__)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", '{"attributes": 3}'])
def test_what_is_no_spec_is_refused(text: str) -> None:
    """Anything but a spec raises one of the documented errors."""
    with pytest.raises((TypeError, KeyError, ValueError)):
        FeatureSpec.from_json(text)


def test_the_contract_differs_whenever_a_part_does() -> None:
    """Any change of schema, encoder block, codebooks or spec is another feature contract."""
    parts = ["a", "b", "c", "d"]
    seen = {feature_contract(*parts)}
    for position in range(4):
        changed = [*parts]
        changed[position] = "x"
        seen.add(feature_contract(*changed))
    seen |= {feature_contract(*order) for order in itertools.permutations(parts)}
    seen.add(feature_contract("ab", "", "c", "d"))
    assert len(seen) == 1 + 4 + 23 + 1


@given(st.text(), st.integers(3, 2**22))
def test_user_rows_stay_in_their_table(user_id: str, rows: int) -> None:
    """A user never lands on PAD, on OOV or outside the table, and always on the same row."""
    row = user_row(user_id, rows)
    assert FIRST_CODE <= row < rows
    assert row == user_row(user_id, rows)


def test_hashes_never_change() -> None:
    """Rows and keys are part of published data: these values must hold for ever."""
    assert user_row("42", 1000) == 255
    assert item_key("42") == 8820412187630416983


@given(st.lists(st.integers(-(2**40), 2**40), max_size=20))
def test_age_buckets_stay_free_of_padding_and_never_fall(ages: list[int]) -> None:
    """Buckets lie in [1, 12) and an older event never has a lower bucket."""
    buckets = age_buckets(np.sort(np.array(ages, np.int64)))
    assert ((buckets >= 1) & (buckets < AGE_BUCKETS)).all()
    assert (np.diff(buckets) >= 0).all()


def test_age_buckets_are_powers_of_two_of_days() -> None:
    """Bucket edges lie at 1, 3, 7, 15 ... days; the future counts as today."""
    days = np.array([-5, 0, 0.99, 1, 2.99, 3, 6.99, 7, 15, 10_000])
    seconds = (days * SECONDS_PER_DAY).astype(np.int64)
    assert age_buckets(seconds).tolist() == [1, 1, 1, 2, 2, 3, 3, 4, 5, 11]


@given(st.integers(0, 2**40), st.sampled_from([-1, 0, 1]))
def test_age_buckets_follow_the_logarithm(seconds: int, beside: int) -> None:
    """One bucket per doubling of 1 + days (docs/model.md), to the second at every border."""
    border = (2 ** (seconds % AGE_BUCKETS) - 1) * SECONDS_PER_DAY + beside
    for age_s in (seconds, border):
        doublings = math.floor(math.log2(max(age_s, 0) / SECONDS_PER_DAY + 1.0))
        expected = min(doublings + 1, AGE_BUCKETS - 1)
        assert age_buckets(np.array([age_s], np.int64)).tolist() == [expected]


def test_activity_levels_follow_the_thresholds() -> None:
    """A user leaves a level once its purchases are above the threshold."""
    levels = [SPEC.activity_level(n) for n in (0, 1, 2, 3, 4, 5, 8, 9, 1000)]
    assert levels == [1, 1, 2, 3, 3, 4, 4, 5, 5]


@given(st.integers(0, 2**33))
def test_context_codes_are_utc(moment: int) -> None:
    """Hour and weekday are those of UTC, and codes of the context fields."""
    from_numpy = np.datetime64(moment, "s")
    hour = int((from_numpy - from_numpy.astype("datetime64[D]")).astype(int) // 3600)
    weekday = int((from_numpy.astype("datetime64[D]").astype(int) + 3) % 7)
    fields = context_fields()
    expected = [fields[0].code(str(hour)), fields[1].code(str(weekday))]
    assert hour_and_weekday([moment])[0].tolist() == expected


def test_a_known_monday_is_a_monday() -> None:
    """2024-01-01 05:00 UTC was a Monday."""
    assert hour_and_weekday([1_704_085_200])[0].tolist() == [5 + FIRST_CODE, 0 + FIRST_CODE]
