"""Group priors: equal to a plain count, for every prefix, from before the cut alone."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from offline.engine import Engine, connect
from offline.priors import Members, PriorSources, prefix_depths, prefix_names, write_priors
from offline.vocabulary import ITEMS_PER_CATEGORY, TOP_CATEGORIES

CUT = datetime.fromisoformat("2017-04-01T00:00:00")
CUT_S = int(CUT.replace(tzinfo=UTC).timestamp())
START = CUT - timedelta(days=20)
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)
NO_GROUP = 4

User = tuple[str | None, float | None, tuple[int, int]]
Event = tuple[str, str, datetime]
Rows = dict[str, dict[str, Any]]

ITEMS = {
    "milk": "dairy", "yogurt": "dairy", "cheese": "dairy", "butter": "dairy", "cream": "dairy",
    "bread": "bakery", "rolls": "bakery", "thing": None, "other": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine for the tests of this file."""
    with connect(threads=1) as made:
        yield made


def sources(users: Sequence[User], purchases: Sequence[Event]) -> PriorSources:
    """Canonical tables of a few users named u0, u1, ..."""
    buyers, items, times = zip(*purchases, strict=True) if purchases else ((), (), ())
    return PriorSources(
        users=ibis.memtable(
            pa.table(
                {
                    "user_id": [f"u{n}" for n in range(len(users))],
                    "age": pa.array([age for age, _, _ in users], pa.string()),
                    "spend": pa.array([spend for _, spend, _ in users], pa.float64()),
                }
            )
        ),
        items=ibis.memtable(pa.table({"item_id": list(ITEMS), "leaf": list(ITEMS.values())})),
        purchases=ibis.memtable(
            pa.table(
                {
                    "user_id": pa.array(buyers, pa.string()),
                    "item_id": pa.array(items, pa.string()),
                    "time": pa.array(times, pa.timestamp("ms")),
                }
            )
        ),
        discrete=("age",),
        continuous=("spend",),
        leaf="leaf",
        history_start=START,
    )


def members(users: Sequence[User]) -> Members:
    """The users' groups."""
    codes = np.array([codes for _, _, codes in users], dtype=np.int32)
    return Members([f"u{n}" for n in range(len(users))], codes, NO_GROUP)


class Build:
    """Writes priors into one folder and reads them by prefix."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self.path = folder / "priors.parquet"

    def __call__(
        self,
        users: Sequence[User],
        purchases: Sequence[Event],
        cut: datetime = CUT,
        group_len: int = 50,
    ) -> Rows:
        """Priors by prefix."""
        made, groups = sources(users, purchases), members(users)
        write_priors(self._engine, made, groups, cut, group_len, self.path)
        rows = pq.read_table(self.path).to_pylist()
        return {row.pop("prefix"): row for row in rows}


@pytest.fixture
def build(engine: Engine, tmp_path: Path) -> Build:
    """Builds priors in a folder of its own."""
    return Build(engine, tmp_path)


def lone(age: str | None = None, spend: float | None = None) -> User:
    """A user of the group 0.0."""
    return (age, spend, (0, 0))


def days_ago(days: float) -> datetime:
    """A moment before the cut."""
    return CUT - timedelta(days=days)


def oracle(users: Sequence[User], purchases: Sequence[Event], group_len: int) -> Rows:
    """The priors, written out in plain Python."""
    used = [event for event in purchases if START <= event[2] < CUT]
    popularity = Counter(item for _, item, _ in used)
    groups: dict[str, set[str]] = defaultdict(set)
    for number, (_, _, codes) in enumerate(users):
        for depth in range(1 if codes[0] == NO_GROUP else 3):
            groups[".".join(map(str, codes[:depth]))].add(f"u{number}")
    return {
        prefix: {
            "depth": len(prefix.split(".")) if prefix else 0,
            "size": len(group),
            "age": _mode([users[int(user[1:])][0] for user in group]),
            "spend": _mean([users[int(user[1:])][1] for user in group]),
            **_sequence([event for event in used if event[0] in group], popularity, group_len),
        }
        for prefix, group in groups.items()
    }


def _mode(values: list[str | None]) -> str | None:
    counts = Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value), default=None)


def _mean(values: list[float | None]) -> Any:
    known = [value for value in values if value is not None]
    return pytest.approx(sum(known) / len(known), abs=1e-9) if known else None


def _sequence(bought: list[Event], popularity: Counter[str], group_len: int) -> dict[str, Any]:
    leaf = {item: category or "" for item, category in ITEMS.items()}
    purchases = Counter(item for _, item, _ in bought)
    buyers = {item: len({user for user, other, _ in bought if other == item}) for item in purchases}
    totals = Counter(leaf[item] for _, item, _ in bought)
    top = sorted(totals, key=lambda name: (-totals[name], name))[:TOP_CATEGORIES]
    chosen: list[str] = []
    for category in top:
        inside = [item for item in purchases if leaf[item] == category]
        inside.sort(key=lambda item: (-buyers[item], -popularity[item], item))
        chosen += inside[:ITEMS_PER_CATEGORY]
    chosen.sort(key=lambda item: (-purchases[item], -popularity[item], item))
    chosen = chosen[:group_len]
    times = {item: _mean_time_s(bought, item) for item in chosen}
    chosen.sort(key=lambda item: (times[item], item))
    return {"items": chosen, "times": [times[item] for item in chosen]}


def _mean_time_s(bought: list[Event], item: str) -> int:
    ages = [
        CUT_S - int(time.replace(tzinfo=UTC, microsecond=0).timestamp())
        for _, other, time in bought
        if other == item
    ]
    return CUT_S - sum(ages) // len(ages)


CODES = st.one_of(
    st.just((NO_GROUP, NO_GROUP)), st.tuples(st.integers(0, 1), st.integers(0, NO_GROUP - 1))
)
USERS = st.lists(
    st.tuples(
        st.sampled_from([None, "20-29", "30-39", "40-49"]),
        st.one_of(st.none(), st.floats(-1000, 1000)),
        CODES,
    ),
    min_size=1,
    max_size=6,
)
# Finding the smallest failing example would take minutes of building priors.
FIND = (Phase.explicit, Phase.reuse, Phase.generate)
MOMENTS = st.integers(-3 * 86_400, 25 * 86_400).map(lambda s: CUT - timedelta(seconds=s, days=0))


@settings(max_examples=30, deadline=None, phases=FIND, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_priors_are_those_of_a_plain_count(build: Build, data: st.DataObject) -> None:
    """Sizes, modes, means and sequences of every prefix equal those counted by hand."""
    users = data.draw(USERS)
    someone = st.integers(0, len(users) - 1).map(lambda number: f"u{number}")
    events = st.tuples(someone, st.sampled_from(sorted(ITEMS)), MOMENTS)
    purchases = data.draw(st.lists(events, max_size=25))
    group_len = data.draw(st.integers(1, 8))
    assert build(users, purchases, group_len=group_len) == oracle(users, purchases, group_len)


def test_only_the_top_categories_count(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """K bounds the categories: those with the most purchases, ties by name."""
    monkeypatch.setattr("offline.priors.TOP_CATEGORIES", 1)
    bought = [("u0", "milk", days_ago(1)), ("u0", "bread", days_ago(1))]
    assert build([lone()], bought)[""]["items"] == ["bread"]
    assert build([lone()], [*bought, bought[0]])[""]["items"] == ["milk"]


def test_mode_ties_go_to_the_smallest_value(build: Build) -> None:
    """Equally frequent values give the smallest, in every run."""
    users = [lone("40-49"), lone("20-29"), lone("30-39"), lone("20-29"), lone("30-39")]
    assert build(users, [])[""]["age"] == "20-29"


def test_distinct_buyers_beat_one_heavy_buyer(build: Build) -> None:
    """One member who buys an item fifty times does not define the group."""
    heavy = [("u0", item, days_ago(2)) for item in ("milk", "yogurt", "cheese") for _ in range(50)]
    shared = [(user, item, days_ago(1)) for user in ("u1", "u2") for item in ("butter", "cream")]
    rows = build([lone(), lone(), lone()], heavy + shared)
    assert rows["0.0"]["items"] == ["cheese", "butter", "cream"]


def test_buyer_ties_go_to_global_purchases(build: Build) -> None:
    """Of items with equally many buyers in a group the one more bought by everybody is taken."""
    users = [lone(), (None, None, (1, 0))]
    inside = [("u0", item, days_ago(1)) for item in ("butter", "cheese", "cream", "milk")]
    outside = [("u1", item, days_ago(1)) for item in ("cream", "milk", "cheese")]
    assert build(users, inside + outside)["0"]["items"] == ["cheese", "cream", "milk"]
    assert build(users, inside)["0"]["items"] == ["butter", "cheese", "cream"]


def test_sequence_is_ordered_by_mean_time(build: Build) -> None:
    """The order is that of the mean time of purchase, oldest first, not of popularity."""
    bought = [
        ("u0", "milk", days_ago(1)),
        ("u0", "milk", days_ago(9)),
        ("u0", "bread", days_ago(4)),
        ("u0", "rolls", days_ago(6)),
    ]
    row = build([lone()], bought)["0.0"]
    assert row["items"] == ["rolls", "milk", "bread"]
    assert row["times"] == [CUT_S - days * 86_400 for days in (6, 5, 4)]


def test_long_sequences_keep_the_most_bought(build: Build) -> None:
    """The cut to L_g is by purchases in the group."""
    bought = [("u0", "rolls", days_ago(3))] * 2 + [("u0", "milk", days_ago(1))] * 3
    bought += [("u0", "bread", days_ago(2))]
    assert build([lone()], bought, group_len=2)[""]["items"] == ["rolls", "milk"]


def test_group_of_one_has_its_members_own_prior(build: Build) -> None:
    """A group with one member is no special case: nobody is left out of a prior."""
    rows = build([("30-39", 2.5, (1, 2))], [("u0", "milk", days_ago(1))])
    expected = {"size": 1, "age": "30-39", "spend": 2.5, "items": ["milk"]}
    assert [rows[prefix]["depth"] for prefix in ("", "1", "1.2")] == [0, 1, 2]
    for row in rows.values():
        assert {name: row[name] for name in expected} == expected


def test_group_without_purchases_has_an_empty_sequence(build: Build) -> None:
    """No purchases, no items: the lists are empty and not missing."""
    row = build([lone("30-39"), (None, None, (1, 1))], [("u1", "milk", days_ago(1))])["0"]
    assert (row["items"], row["times"], row["age"]) == ([], [], "30-39")


def test_attributes_nobody_has_are_missing(build: Build) -> None:
    """A group all of whose members lack a field lacks it as well; nothing is made up."""
    row = build([lone(), lone(), ("30-39", 1.0, (1, 1))], [])["0.0"]
    assert (row["size"], row["age"], row["spend"]) == (2, None, None)


def test_users_without_a_group_count_in_the_global_prior_alone(build: Build) -> None:
    """Somebody of whom nothing is known belongs to everybody and to no group."""
    users = [("30-39", None, (NO_GROUP, NO_GROUP)), lone("40-49")]
    rows = build(users, [("u0", "milk", days_ago(1))])
    assert sorted(rows) == ["", "0", "0.0"]
    assert (rows[""]["size"], rows[""]["items"]) == (2, ["milk"])
    assert (rows["0"]["size"], rows["0"]["items"]) == (1, [])


def test_mean_does_not_depend_on_the_order_of_adding(build: Build) -> None:
    """Values that cancel badly in floating point still have one mean."""
    values = [1e15, 0.1, -1e15, 0.3]
    means = {
        build([lone(spend=value) for value in order], [])[""]["spend"]
        for order in (values, values[::-1], [values[0], values[2], values[1], values[3]])
    }
    assert means == {0.1}


def assert_sees_no_later(
    make: Callable[[Sequence[Event]], Rows], before: list[Event], later: list[Event]
) -> None:
    """Priors are the same with and without what happened at or after the cut."""
    assert make(before + later) == make(before)


PURCHASES = st.lists(
    st.tuples(
        st.sampled_from(["u0", "u1", "u2"]),
        st.sampled_from(sorted(ITEMS)),
        st.integers(0, 19 * 86_400_000).map(lambda ms: ms * MS),
    ),
    max_size=8,
)


@settings(max_examples=10, deadline=None, phases=FIND, suppress_health_check=list(HealthCheck))
@given(before=PURCHASES, later=PURCHASES)
def test_nothing_at_or_after_the_cut_counts(
    build: Build,
    before: list[tuple[str, str, timedelta]],
    later: list[tuple[str, str, timedelta]],
) -> None:
    """No purchase of the cut's moment or later changes any prior, nor any time in it."""
    users = [lone(), lone(), (None, None, (1, 1))]
    known = [(user, item, CUT - MS - age) for user, item, age in before]
    rows = build(users, known)
    assert all(time <= CUT_S for row in rows.values() for time in row["times"])
    assert_sees_no_later(
        lambda purchases: build(users, purchases),
        known,
        [(user, item, CUT + age) for user, item, age in later],
    )


def test_a_planted_leak_is_caught(build: Build) -> None:
    """The check above fails for a builder that looks one millisecond too far."""
    with pytest.raises(AssertionError):
        assert_sees_no_later(
            lambda purchases: build([lone()], purchases, cut=CUT + MS), [], [("u0", "milk", CUT)]
        )


def test_history_start_holds(build: Build) -> None:
    """Purchases from before the history are not used; those of its first moment are."""
    bought = [("u0", "milk", START - MS), ("u0", "bread", START)]
    assert build([lone()], bought)["0"]["items"] == ["bread"]


def test_equal_inputs_give_equal_bytes(build: Build) -> None:
    """The order of the tables' rows does not show in the file."""
    users = [("30-39", 0.1, (n % 2, n % 3)) for n in range(6)]
    items = sorted(ITEMS)
    bought = [(f"u{n % 6}", items[n % 9], days_ago(1 + n % 7)) for n in range(200)]
    build(users, bought)
    first = build.path.read_bytes()
    build(users, bought[::-1])
    assert build.path.read_bytes() == first


def test_attributes_called_like_columns_are_refused(engine: Engine, tmp_path: Path) -> None:
    """A user attribute named "size" cannot be confused with the size of a group."""
    made = replace(sources([lone()], []), discrete=("size",))
    with pytest.raises(ValueError, match="attribute 'size' is called like a column"):
        write_priors(engine, made, members([lone()]), CUT, 50, tmp_path / "priors.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["spend_right", "depth_right", "place", "total", "value"])
def test_attributes_may_have_any_other_name(engine: Engine, tmp_path: Path, name: str) -> None:
    """An attribute of a log keeps its value in priors, whatever joins call their columns."""
    made = sources([lone("20-29", 2.0)], [])
    renamed = replace(made, users=made.users.rename({name: "spend"}), continuous=(name,))
    write_priors(engine, renamed, members([lone()]), CUT, 50, tmp_path / "priors.parquet")
    rows = pq.read_table(tmp_path / "priors.parquet").to_pylist()
    assert [(row["age"], row[name]) for row in rows] == [("20-29", 2.0)] * 3


def test_the_largest_numbers_have_exact_means(build: Build) -> None:
    """Values as large as the rules allow neither overflow nor lose digits to their order."""
    users = [lone(spend=value) for value in (9e17, -9e17, 4.0, 9e17)]
    assert build(users, [])[""]["spend"] == (9e17 + 4) / 4


def test_depth_is_that_of_the_deepest_prefix_with_enough_members() -> None:
    """Users read the prior of the deepest prefix that has n_min members, else the global one."""
    codes = np.array([[0, 0]] * 3 + [[0, 1]] * 2 + [[1, 0]] * 2 + [[NO_GROUP] * 2] * 5, np.int32)
    depths = prefix_depths(codes, n_min=3, no_group=NO_GROUP)
    assert depths.tolist() == [2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0]


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1),
    n_min=st.integers(1, 6),
)
def test_depths_are_those_of_a_plain_count(rows: list[tuple[int, int, int]], n_min: int) -> None:
    """Depths equal those counted by hand."""
    sizes = Counter(row[:depth] for row in rows for depth in (1, 2, 3))
    expected = [max([0] + [d for d in (1, 2, 3) if sizes[row[:d]] >= n_min]) for row in rows]
    assert prefix_depths(np.array(rows, np.int32), n_min, no_group=9).tolist() == expected


def test_prefixes_are_named_by_their_codes() -> None:
    """Names are the codes joined by points; the global prefix is empty."""
    codes = np.array([[3, 1, 2]], np.int32)
    assert [prefix_names(codes, depth) for depth in range(4)] == [[""], ["3"], ["3.1"], ["3.1.2"]]
