"""The simulator's parts: draws, calibration, ids, queries and the spill."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.datasets.simulated.calibration import bisect, calibrate_activity, expected_clicks
from offline.datasets.simulated.constants import CONSTANTS
from offline.datasets.simulated.draws import AliasTables, choose
from offline.datasets.simulated.names import BRAND_NAMES, LEAF_NAMES
from offline.datasets.simulated.parquet import hexadecimal, numbered_ids
from offline.datasets.simulated.queries import QUERIES, query_code, query_words
from offline.datasets.simulated.segments import Segments
from offline.datasets.simulated.spill import Spill
from offline.datasets.simulated.streams import Stream, stream

weights = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12)


@given(st.lists(weights, min_size=1, max_size=4))
def test_alias_tables_hold_the_weights_exactly(drawn: list[list[float]]) -> None:
    """However skewed the weights are, every value has its share of the slots."""
    tables = AliasTables.build([np.array(values) for values in drawn])
    mass = tables.keep.astype(np.float64)
    np.add.at(mass, tables.other, 1 - tables.keep.astype(np.float64))
    for start, values in zip(tables.starts, drawn, strict=True):
        share = mass[start : start + len(values)] / len(values)
        np.testing.assert_allclose(share, np.array(values) / sum(values), atol=1e-6)


def test_choices_follow_the_softmax() -> None:
    """A column is chosen as often as exp of its utility says."""
    utility = np.tile(np.array([0.0, 1.0, -1.0], np.float32), (60_000, 1))
    chosen = np.bincount(choose(stream(1, Stream.CLICKS), utility), minlength=3) / 60_000
    expected = np.exp(utility[0]) / np.exp(utility[0]).sum()
    np.testing.assert_allclose(chosen, expected, atol=0.01)


def test_streams_differ_by_world_part_and_block() -> None:
    """No two parts of the simulation share their random numbers; equal keys give equal ones."""
    keys = [(1, Stream.USERS, 0), (2, Stream.USERS, 0), (1, Stream.CLICKS, 0), (1, Stream.USERS, 1)]
    firsts = [stream(*key).random() for key in keys]
    assert len(set(firsts)) == len(keys)
    assert firsts == [stream(*key).random() for key in keys]


def test_a_user_has_one_session_at_least() -> None:
    """The expected clicks are those of the larger of rate and session, drawn many times."""
    rng = np.random.default_rng(0)
    for rate in (0.2, 2.7, 40.0):
        wanted = np.floor(rate + rng.random(200_000))
        made = np.maximum(wanted, rng.geometric(1 / 3, 200_000))
        assert expected_clicks(np.array([rate]), 3.0)[0] == pytest.approx(made.mean(), rel=0.01)


def test_activity_is_as_skewed_as_the_paper_says() -> None:
    """The calibrated deviation is about the 2.9 that the protocol expects."""
    assert calibrate_activity(CONSTANTS).sigma == pytest.approx(2.9, abs=0.12)


def test_bisection_finds_the_crossing() -> None:
    """An increasing function is zero where the bisection ends."""
    assert bisect(lambda x: x**3 - 8, -5, 5) == pytest.approx(2)


def test_the_constants_are_frozen() -> None:
    """A changed constant is another simulator: figures of the two must not be mixed."""
    assert CONSTANTS.digest() == "2d1f3decec6eefc67c7c29bfd52cf4d5b71b46710d2cca3a49e1e13e984ff50e"


def test_names_are_distinct() -> None:
    """320 leaves, 300 brands and every query can be told apart by their texts."""
    assert (len(set(LEAF_NAMES)), len(set(BRAND_NAMES))) == (320, 300)
    assert len(set(QUERIES)) == 320 * 6 * 9
    assert list(QUERIES) == sorted(QUERIES)


def test_a_query_says_what_was_asked() -> None:
    """Every query can be read back into leaf, price word and style word."""
    price, style, leaf = (part.reshape(-1) for part in np.indices((6, 9, 320), np.int32))
    for part, again in zip(
        (leaf, price, style), query_words(query_code(leaf, price, style)), strict=True
    ):
        np.testing.assert_array_equal(part, again)
    code = query_code(*(np.array([value], np.int32) for value in (3, 5, 1)))
    assert QUERIES[int(code[0])] == f"luxury minimalist {LEAF_NAMES[3]}"


@given(st.lists(st.integers(0, 10**7 - 1), min_size=1, max_size=20))
def test_ids_sort_as_their_numbers(numbers: list[int]) -> None:
    """Rows sorted by number are sorted by id, as canonical tables must be."""
    ids = numbered_ids("i", 7, np.array(sorted(numbers))).to_pylist()
    assert ids == [f"i{number:07d}" for number in sorted(numbers)]
    assert hexadecimal(np.array(numbers)).to_pylist() == [f"{number:012x}" for number in numbers]


events = st.tuples(st.integers(-40, 39), st.integers(0, 2**24 - 1), st.integers(0, 2**20 - 1))


@settings(max_examples=30)
@given(st.lists(events, min_size=1, max_size=30, unique=True), st.randoms(use_true_random=False))
def test_the_spill_sorts_whatever_comes(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[int, int, int]],
    random: "np.random.RandomState",
) -> None:
    """Rows come back by time, user and place, with their columns, in any order they came."""
    spill = Spill(tmp_path_factory.mktemp("spill") / "rows", -40, 7, [("twice", "<i8")])
    random.shuffle(drawn)
    for part in (drawn[::2], drawn[1::2]):
        time_s, user, place = np.array(part, np.int64).reshape(-1, 3).T
        spill.add(time_s, user, place, twice=2 * time_s)
    back = []
    for time_s, user, place, records in spill.drain():
        np.testing.assert_array_equal(records["twice"], 2 * time_s)
        back += list(zip(time_s.tolist(), user.tolist(), place.tolist(), strict=True))
    assert back == sorted(drawn)
    assert not list(spill.drain())


def test_of_equally_active_users_the_one_with_fewer_purchases_is_less_active() -> None:
    """The least active are those with least activity, then fewest purchases, then first."""
    segments = Segments.empty(4)
    segments.purchases[:] = [2, 1, 1, 0]
    segments.activity[:] = [1, 1, 1, 9]
    assert segments.low_activity(0.5).tolist() == [False, True, True, False]


def test_scratch_of_another_is_not_overwritten(tmp_path: Path) -> None:
    """A spill refuses a folder that is there already."""
    (tmp_path / "rows").mkdir()
    with pytest.raises(FileExistsError):
        Spill(tmp_path / "rows", 0, 1, [])
