"""Assembly: one code for training and serving, each row by itself, ages at an explicit moment."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.assembly import (
    Catalogue,
    Ids,
    activity_features,
    group_arrays,
    misfit,
    prefix_codes,
    standardise,
    unknown_user,
    user_arrays,
)
from model.network.batch import UNKNOWN_ACTIVITY
from model.records import GroupRecord, UserRecord
from model.spec import FIRST_CODE, OOV, PAD, SECONDS_PER_DAY, ContinuousField, age_buckets, item_key
from tests.records import WRITTEN_AT_S, group_record, item_record, user_record
from tests.synthetic import feature_spec

SPEC = replace(feature_spec(), continuous=(ContinuousField("income", 10.0, 4.0),))
IDS = tuple(f"i{number}" for number in range(9))
KEYS = np.sort(np.array([item_key(item) for item in IDS], np.uint64))
CATALOGUE = Catalogue(KEYS, np.full((len(IDS), 3), FIRST_CODE, np.int32))
CONTEXT = np.array([[3, 4]], np.int64)

users = st.builds(user_record, st.integers(0, 50), purchases=st.integers(0, 12))
moments = st.integers(WRITTEN_AT_S, WRITTEN_AT_S + 500 * SECONDS_PER_DAY)
prefixes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def assert_rows_equal(many: Any, row: int, one: Any) -> None:
    """Row ``row`` of assembled arrays equals the only row of others."""
    for field in fields(many):
        np.testing.assert_array_equal(getattr(many, field.name)[row], getattr(one, field.name)[0])


def assemble(record: UserRecord, moment: int) -> Any:
    """One user at one moment."""
    return user_arrays(SPEC, CATALOGUE, [record], [moment], CONTEXT)


@given(st.lists(st.tuples(users, moments, st.integers(0, 25)), min_size=1, max_size=5))
def test_many_requests_equal_one_by_one(asked: list[tuple[UserRecord, int, int]]) -> None:
    """Assembling R requests gives exactly R assemblies of one: batches never mix users."""
    context: Ids = np.array([[hour, 2] for *_, hour in asked], np.int64)
    records, times = [record for record, *_ in asked], [moment for _, moment, _ in asked]
    many = user_arrays(SPEC, CATALOGUE, records, times, context)
    for row in range(len(asked)):
        one = user_arrays(
            SPEC, CATALOGUE, records[row : row + 1], times[row : row + 1], context[row : row + 1]
        )
        assert_rows_equal(many, row, one)


@given(st.lists(prefixes, min_size=1, max_size=5))
def test_many_groups_equal_one_by_one(asked: list[tuple[int, ...]]) -> None:
    """The same holds for group priors."""
    records = [group_record(prefix) for prefix in asked]
    many = group_arrays(SPEC, CATALOGUE, records, WRITTEN_AT_S)
    for row, record in enumerate(records):
        assert_rows_equal(many, row, group_arrays(SPEC, CATALOGUE, [record], WRITTEN_AT_S))


def test_group_arrays_take_no_user_and_no_request() -> None:
    """The group side is a function of prior and generation alone, so that it can be cached."""
    parameters = group_arrays.__annotations__
    assert set(parameters) == {"spec", "catalogue", "records", "as_of_s", "return"}
    assert "UserRecord" not in str(parameters["records"])


@given(st.integers(0, 30))
def test_the_most_recent_purchases_are_kept_in_order(count: int) -> None:
    """Of a long history the last L stay, oldest first; a short one is padded behind."""
    record = user_record(3, purchases=count)
    arrays = assemble(record, WRITTEN_AT_S)
    kept = min(count, SPEC.history_len)
    expected = CATALOGUE.rows(record.purchase_items)[count - kept :]
    assert arrays.history_items[0, :kept].tolist() == expected.tolist()
    assert (arrays.history_items[0, kept:] == PAD).all()
    assert (arrays.history_ages[0, kept:] == PAD).all()
    assert (arrays.history_ages[0, :kept] != PAD).all()
    assert arrays.purchases.tolist() == [count]


@given(st.integers(0, 500))
def test_ages_count_from_the_given_moment(days: int) -> None:
    """Ages are those at the moment asked for, whenever the record was written."""
    record = user_record(3, purchases=4)
    moment = WRITTEN_AT_S + days * SECONDS_PER_DAY
    ages = age_buckets(moment - record.purchase_times)
    assert assemble(record, moment).history_ages[0, :4].tolist() == ages.tolist()


def test_unknown_items_stay_in_the_history() -> None:
    """An item outside the catalogue counts as an unknown item, not as padding."""
    record = replace(user_record(3), purchase_items=np.array([1, KEYS[4], 2], np.uint64))
    assert assemble(record, WRITTEN_AT_S).history_items[0, :4].tolist() == [OOV, 6, OOV, PAD]


def test_catalogue_rows() -> None:
    """Known keys map to 2 + position in any shape, others to OOV; an empty catalogue knows none."""
    keys = np.array([[KEYS[0], KEYS[-1]], [0, 2**64 - 1]], np.uint64)
    assert CATALOGUE.rows(keys).tolist() == [[2, 10], [OOV, OOV]]
    empty = Catalogue(np.empty(0, np.uint64), np.empty((0, 3), np.int32))
    assert empty.rows(keys).tolist() == [[OOV, OOV], [OOV, OOV]]


@given(hnp.arrays(np.uint64, st.integers(0, 40), unique=True), st.data())
def test_every_key_of_a_catalogue_is_found(keys: np.ndarray, data: st.DataObject) -> None:
    """Each key finds its own row, and no other key finds any."""
    keys = np.sort(keys)
    rows = Catalogue(keys, np.zeros((len(keys), 1), np.int32)).rows
    assert rows(keys).tolist() == list(range(FIRST_CODE, FIRST_CODE + len(keys)))
    other = data.draw(st.integers(0, 2**64 - 1).filter(lambda key: key not in set(keys.tolist())))
    assert rows(np.array([other], np.uint64)).tolist() == [OOV]


def test_an_unknown_user_has_nothing() -> None:
    """An unknown user takes the out-of-vocabulary row, no history, and the trained activity."""
    record = unknown_user(SPEC, WRITTEN_AT_S)
    arrays = assemble(record, WRITTEN_AT_S)
    assert arrays.user_row.tolist() == [OOV]
    assert not arrays.attributes.any()
    assert not arrays.history_items.any()
    assert arrays.continuous.tolist() == [[0.0, 1.0]]
    assert arrays.activity[0].tolist() == list(UNKNOWN_ACTIVITY)
    assert record.prefix == ()
    assert misfit(SPEC, record) is None


def test_activity_features_are_those_documented() -> None:
    """log1p of the window's counts, completeness over all fields, and the low-activity flag."""
    record = user_record(3, purchases=2)
    expected = [np.log1p(2), np.log1p(4), np.log1p(2), 2 / 3, 1.0]
    np.testing.assert_allclose(activity_features(SPEC, record), expected, rtol=1e-6)
    assert activity_features(SPEC, user_record(3, purchases=3))[4] == 0.0


def test_standardised_values_then_missing_flags() -> None:
    """Values are standardised by training's mean and deviation; a missing one is 0 and flagged."""
    values = np.array([[18.0], [np.nan], [10.0]], np.float32)
    assert standardise(SPEC, values).tolist() == [[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    none = replace(SPEC, continuous=())
    assert standardise(none, np.empty((3, 0), np.float32)).shape == (3, 0)


def test_codes_deeper_than_the_prefix_mean_no_group() -> None:
    """Levels below the prefix in use hold k, in every prefix alike."""
    assert prefix_codes(SPEC, ()).tolist() == [4, 4, 4]
    assert prefix_codes(SPEC, (0, 3)).tolist() == [0, 3, 4]
    assert prefix_codes(SPEC, (0, 3, 1)).tolist() == [0, 3, 1]


def ints(*values: int) -> Any:
    """An int32 column."""
    return np.array(values, np.int32)


USER, GROUP = user_record(3), group_record((1,))
MISFITS: list[tuple[Any, dict[str, Any], str]] = [
    (USER, {"attributes": ints(2)}, "1 attributes, expected 2"),
    (USER, {"attributes": ints(2, 99)}, "attributes ['city'] have codes outside"),
    (USER, {"attributes": ints(-1, 2)}, "attributes ['age'] have codes outside"),
    (USER, {"continuous": np.empty(0, np.float32)}, "expected 1 finite or NaN"),
    (USER, {"continuous": np.array([np.inf], np.float32)}, "expected 1 finite or NaN"),
    (USER, {"purchase_times": np.array([1], np.int64)}, "items and times differ"),
    (USER, {"group_id": ints(1, 2)}, "expected 3 codes of 0..4"),
    (USER, {"group_id": ints(1, 2, 5)}, "expected 3 codes of 0..4"),
    (USER, {"group_id": ints(1, 2, -1)}, "expected 3 codes of 0..4"),
    (USER, {"prefix_depth": 4}, "expected 3 codes"),
    (USER, {"window_clicks": -1}, "expected none below 0"),
    (GROUP, {"attributes": ints(2, 2, 2)}, "3 attributes, expected 2"),
    (GROUP, {"times": np.array([1], np.int64)}, "items and times differ"),
    (item_record("x"), {"codes": ints(2)}, "1 item fields, expected 3"),
    (item_record("x"), {"codes": ints(2, 2, 9)}, "['tier'] have codes outside"),
]


@pytest.mark.parametrize(("record", "change", "reason"), MISFITS)
def test_records_that_do_not_fit_are_told(record: Any, change: Any, reason: str) -> None:
    """A decoded record of another spec is found before it reaches a table, with the reason."""
    assert misfit(SPEC, record) is None
    assert reason in (misfit(SPEC, replace(record, **change)) or "")


def test_what_fits_can_be_assembled() -> None:
    """Records that fit go through assembly: the check and the code agree."""
    record = replace(USER, purchase_items=USER.purchase_items[:0])
    fitting = replace(record, purchase_times=USER.purchase_times[:0])
    assert misfit(SPEC, fitting) is None
    assert assemble(fitting, WRITTEN_AT_S).history_items.shape == (1, SPEC.history_len)
    group: GroupRecord = GROUP
    assert group_arrays(SPEC, CATALOGUE, [group], WRITTEN_AT_S).codes.tolist() == [[1, 4, 4]]
