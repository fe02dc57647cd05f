"""Rules find exactly the rows that break them, and say so readably."""

from collections.abc import Iterator

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.engine import Engine, connect
from offline.rules import InvalidTables, Problem, Source, first_problems, numbered, order_checks

KEYS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "Z", "é", "日"])), max_size=5
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all examples."""
    with connect(threads=1) as engine:
        yield engine


@settings(max_examples=40, deadline=None)
@given(keys=KEYS)
def test_order_rule_finds_every_descent(engine: Engine, keys: list[tuple[int, str]]) -> None:
    """A row is reported when its key is below the key of the row before it, and only then."""
    times, names = [key[0] for key in keys], [key[1] for key in keys]
    table = pa.table({"time": pa.array(times, pa.int64()), "name": pa.array(names, pa.string())})
    rows = numbered(ibis.memtable(table))
    checks = order_checks({"events": rows}, {"events": ("time", "name")})
    problems = first_problems(engine, checks, {"events": Source("events.parquet", {})})
    # UTF-8 sorts like code points, which is how Python compares texts.
    expected = [place + 1 for place in range(1, len(keys)) if keys[place] < keys[place - 1]]
    assert [problem.row for problem in problems] == expected


def test_problem_reads_as_a_sentence() -> None:
    """A problem says file, column, row, value, rule and how many rows share it."""
    problem = Problem("clicks.csv", "bought", 17, "'2'", "must be 0 or 1", total=3)
    assert str(problem) == (
        "clicks.csv: column bought, row 17: is '2'; must be 0 or 1 (rows that break this: 3)"
    )
    assert str(problem) in str(InvalidTables([problem]))
