"""Results: one tidy table that only ever grows by whole cells."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline.evidence.results import (
    RESULTS,
    RESULTS_FILE,
    USER_AUCS,
    USERS_FILE,
    ResultsError,
    read_results,
    write_results,
)


def result(**changed: Any) -> dict[str, Any]:
    """One row of a finished cell."""
    row = {
        "dataset": "simulated_1",
        "role": "design",
        "world": 1,
        "method": "din",
        "grouping": "none",
        "seed": 0,
        "preset": "paper",
        "target": "test",
        "segment": "low",
        "metric": "gauc",
        "value": 0.7,
        "dense_parameters": 1000,
        "table_parameters": 2000,
        "validation": 0.7,
        "best_epoch": 1,
        "cpu_s": 60.0,
        "config_digest": "a",
        "code_digest": "b",
        "data_digest": "c",
    }
    return {**row, **changed}


def user(**changed: Any) -> dict[str, Any]:
    """One user of a finished cell."""
    row = {
        "dataset": "simulated_1",
        "method": "din",
        "grouping": "none",
        "preset": "paper",
        "seed": 0,
        "target": "test",
        "soft": False,
        "user": 7,
        "auc": 0.6,
        "rows": 4,
        "low": True,
        "level": 1,
    }
    return {**row, **changed}


def write(folder: Path, rows: list[dict[str, Any]], users: list[dict[str, Any]]) -> None:
    """Write plain rows."""
    write_results(
        folder,
        pa.Table.from_pylist(rows, schema=RESULTS),
        pa.Table.from_pylist(users, schema=USER_AUCS),
    )


def test_cells_are_added_and_read_back(tmp_path: Path) -> None:
    """What is written in two calls is read as one table; real data sets have no world."""
    write(tmp_path, [result()], [user()])
    write(tmp_path, [result(dataset="panel", world=None)], [user(dataset="panel")])
    found = read_results(tmp_path)
    assert found.rows["dataset"].to_pylist() == ["panel", "simulated_1"]
    assert found.rows["world"].to_pylist() == [None, 1]
    assert found.users.num_rows == 2


def test_a_cell_that_runs_again_replaces_itself_alone(tmp_path: Path) -> None:
    """A rerun leaves no row of its former self, and no other cell changes."""
    write(tmp_path, [result(), result(seed=1)], [user(), user(user=8), user(seed=1)])
    write(tmp_path, [result(value=0.8)], [user(auc=0.9)])
    found = read_results(tmp_path)
    assert dict(
        zip(found.rows["seed"].to_pylist(), found.rows["value"].to_pylist(), strict=True)
    ) == {0: 0.8, 1: 0.7}
    assert sorted(zip(*(found.users[n].to_pylist() for n in ("seed", "auc")), strict=True)) == [
        (0, 0.9),
        (1, 0.6),
    ]


def test_the_order_of_writing_does_not_show(tmp_path: Path) -> None:
    """Cells finished in another order make the same bytes."""
    cells = [([result(seed=seed)], [user(seed=seed)]) for seed in range(3)]
    for name, order in (("a", cells), ("b", cells[::-1])):
        for rows, users in order:
            write(tmp_path / name, rows, users)
    for file in (RESULTS_FILE, USERS_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nothing_finished_reads_as_nothing(tmp_path: Path) -> None:
    """A folder without results is an empty table, not an error."""
    assert read_results(tmp_path).rows.num_rows == 0
    assert read_results(tmp_path).users.schema == USER_AUCS


@pytest.mark.parametrize(
    ("rows", "users", "message"),
    [
        ([result(metric="recall")], [], "metric .'recall'"),
        ([result(segment="some")], [], "segment"),
        ([result(), result()], [], "told twice"),
        ([result()], [user(), user()], "told twice"),
        ([result()], [user(seed=1)], "without results"),
        ([result(value=None)], [], "nulls in .'value'"),
    ],
)
def test_what_does_not_fit_is_refused_whole(
    tmp_path: Path, rows: list[dict[str, Any]], users: list[dict[str, Any]], message: str
) -> None:
    """A table that could not be read unambiguously is named, and nothing is written."""
    with pytest.raises(ResultsError, match=message):
        write(tmp_path, rows, users)
    assert list(tmp_path.iterdir()) == []


def test_other_columns_are_refused(tmp_path: Path) -> None:
    """A table of another shape is refused by the names of its columns, written or read."""
    wrong = pa.table({"dataset": ["a"]})
    with pytest.raises(ResultsError, match="'method'"):
        write_results(tmp_path, wrong, USER_AUCS.empty_table())
    pq.write_table(wrong, tmp_path / RESULTS_FILE)
    with pytest.raises(ResultsError, match=r"paper\.parquet.*missing"):
        read_results(tmp_path)


def test_a_failed_write_leaves_the_former_table(tmp_path: Path) -> None:
    """A disk that fails half-way spoils nothing that was finished."""
    write(tmp_path, [result()], [user()])
    (tmp_path / f"{RESULTS_FILE}.partial").mkdir()
    with pytest.raises(OSError, match="partial"):
        write(tmp_path, [result(seed=1)], [user(seed=1)])
    assert read_results(tmp_path).rows["seed"].to_pylist() == [0]
