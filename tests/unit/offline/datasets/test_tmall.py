"""The Tmall adapter: days, labels and the parts of the split, on a miniature log."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline.__main__ import main
from offline.datasets.tmall import build
from offline.events import CanonicalTables, Split, validate
from offline.rules import ConfigError, InvalidTables

FIRST = date(2013, 4, 15)
DAYS = 28
Row = tuple[int, int, int, int]
"""User, brand, type, day from 0."""

ROWS: list[Row] = [
    (7, 100, 0, 0),
    (7, 100, 0, 0),  # a second click of the day
    (7, 100, 1, 1),  # bought on the next day
    (7, 200, 0, 5),
    (7, 200, 1, 5),  # bought on the same day
    (7, 300, 0, 9),
    (7, 300, 1, 11),  # too late
    (8, 100, 0, 9),  # bought by another user
    (8, 300, 2, 9),
    (8, 400, 3, 9),
    (8, 300, 0, 21),
    (8, 200, 0, 23),  # its outcome is open when the test begins
    (8, 200, 0, 24),
    (7, 400, 0, 27),  # its outcome is open when the log ends
]


def save(folder: Path, rows: list[Row]) -> Path:
    """A folder with the events."""
    user, brand, kind, day = (list(column) for column in zip(*rows, strict=True))
    columns = {
        "row": pa.array(range(len(rows)), pa.uint32()),
        "user_id": pa.array(user, pa.int64()),
        "brand_id": pa.array(brand, pa.int64()),
        "type": pa.array(kind, pa.int64()),
        "date": pa.array([FIRST + timedelta(days=number) for number in day], pa.date32()),
    }
    pq.write_table(pa.table(columns), folder / "events.parquet")
    return folder


@pytest.fixture
def tables(tmp_path: Path) -> CanonicalTables:
    """The canonical tables of the miniature."""
    return build(save(tmp_path, ROWS), tmp_path / "out")


def at(day: int) -> datetime:
    """The first moment of a day."""
    return datetime(2013, 4, 15) + timedelta(days=day)  # noqa: DTZ001


def test_a_click_is_positive_when_its_brand_is_bought_by_the_next_day(
    tables: CanonicalTables,
) -> None:
    """One sample per user, brand and day; bought by the same user on that day or the next."""
    rows = {
        (row["user_id"], row["item_id"], row["time"]): row["label"]
        for row in tables.clicks().to_pylist()
    }
    assert rows == {
        ("7", "100", at(0)): 1,
        ("7", "200", at(5)): 1,
        ("7", "300", at(9)): 0,
        ("8", "100", at(9)): 0,
        ("8", "300", at(21)): 0,
        ("8", "200", at(24)): 0,
    }


def test_no_purchase_is_known_before_the_clicks_of_its_day(tables: CanonicalTables) -> None:
    """Days are all the log knows: purchases stand at the end of theirs, so that none leaks."""
    times = tables.purchases()["time"].to_pylist()
    assert times == [at(day + 1) - timedelta(seconds=1) for day in (1, 5, 11)]


def test_the_days_are_cut_in_sevenths(tables: CanonicalTables) -> None:
    """Two sevenths of history, three of training, one of validation, one of test."""
    assert tables.schema.split == Split(at(0), at(8), at(20), at(24), at(28))
    assert validate(tables) == []


def test_a_brand_is_known_by_its_popularity_alone(tables: CanonicalTables) -> None:
    """No attributes, no text; how many users clicked on a brand before training starts."""
    assert tables.schema.discrete == tables.schema.continuous == tables.schema.side == ()
    assert tables.users()["user_id"].to_pylist() == ["7", "8"]
    assert tables.items().to_pylist() == [
        {"item_id": "100", "text": None, "popularity": "niche"},
        {"item_id": "200", "text": None, "popularity": "niche"},
        {"item_id": "300", "text": None, "popularity": None},
        {"item_id": "400", "text": None, "popularity": None},
    ]
    assert "no statement of licence" in tables.schema.provenance


@pytest.mark.parametrize(
    ("users", "word"), [(1, "niche"), (3, "familiar"), (4, "popular"), (12, "leading")]
)
def test_popularity_counts_users_of_the_history(users: int, word: str, tmp_path: Path) -> None:
    """Each user counts once, however often; clicks in training say nothing of popularity."""
    history = [(user, 900, 0, day) for user in range(users) for day in (0, 3)]
    training = [(user, 900, 0, 10) for user in range(20)]
    tables = build(save(tmp_path, [*ROWS, *history, *training]), tmp_path / "out")
    words = {row["item_id"]: row["popularity"] for row in tables.items().to_pylist()}
    assert words["900"] == word


def test_equal_rows_give_equal_bytes(tables: CanonicalTables, tmp_path: Path) -> None:
    """The order in which the log lists its events does not show."""
    (tmp_path / "again").mkdir()
    again = build(save(tmp_path / "again", ROWS[::-1]), tmp_path / "again" / "out")
    for path in tables.folder.iterdir():
        assert path.read_bytes() == (again.folder / path.name).read_bytes(), path.name


def renamed(table: pa.Table) -> pa.Table:
    """Without the column ``type``."""
    return table.rename_columns(["row", "user_id", "brand_id", "kind", "date"])


def as_text(table: pa.Table) -> pa.Table:
    """With dates as text."""
    return table.set_column(4, "date", table["date"].cast(pa.string()))


def with_float(table: pa.Table) -> pa.Table:
    """With users as floating numbers."""
    return table.set_column(1, "user_id", table["user_id"].cast(pa.float64()))


def of_few_days(table: pa.Table) -> pa.Table:
    """Only the first days."""
    return table.slice(0, 6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renamed, "has no column 'type'; it has row, user_id"),
        (as_text, "column date holds string; expected dates"),
        (with_float, "column user_id holds float64; expected whole numbers"),
        (of_few_days, "spans 10 days; expected 14 or more"),
    ],
)
def test_a_log_of_another_shape_is_refused(
    change: Callable[[pa.Table], pa.Table], reason: str, tmp_path: Path
) -> None:
    """A column or a span that does not fit is named, and nothing is written."""
    path = save(tmp_path, ROWS) / "events.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ConfigError, match=reason):
        build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_event_of_an_unknown_type_is_named(tmp_path: Path) -> None:
    """The row, its value and the rule are told."""
    with pytest.raises(InvalidTables, match=r"column type, row 2: is '9'; must be one of 0, 1"):
        build(save(tmp_path, [ROWS[0], (7, 100, 9, 3), *ROWS]), tmp_path / "out")


@pytest.mark.parametrize(
    ("day", "days_since_1970"),
    [
        ("infinity", 2_147_483_647),
        ("-infinity", -2_147_483_647),
        ("9999-12-31", 2_932_896),
        ("20000-01-01", 6_585_322),
        ("0044-03-15 (BC)", -735_160),
        ("0001-01-01", -719_162),
        ("1989-12-31", 7_304),
        ("2100-01-01", 47_482),
    ],
)
def test_a_day_of_another_age_is_named(
    day: str, days_since_1970: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken date neither stretches the split nor ends in words that name no row."""
    path = save(tmp_path, ROWS) / "events.parquet"
    log = pq.read_table(path)
    days = log["date"].cast(pa.int32()).to_pylist()
    days[1] = days_since_1970
    broken = pa.array(days, pa.int32()).cast(pa.date32())
    pq.write_table(log.set_column(4, "date", broken), path)
    assert main(["build", "--tmall", str(tmp_path), "--root", str(tmp_path / "var")]) == 2
    rule = f"events.parquet: column date, row 2: is '{day}'; must be from 1990 to 2099"
    assert rule in capsys.readouterr().err


def test_a_folder_without_events_is_named(tmp_path: Path) -> None:
    """A wrong folder is told apart from a broken file."""
    with pytest.raises(ConfigError, match=r"events\.parquet is not there"):
        build(tmp_path, tmp_path / "out")
    (tmp_path / "events.parquet").write_text("no Parquet")
    with pytest.raises(ConfigError, match="cannot read"):
        build(tmp_path, tmp_path / "out")


def test_the_command_names_a_wrong_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``build --tmall`` of a folder without a log ends with 2 and writes nothing."""
    root = tmp_path / "var"
    assert main(["build", "--tmall", str(tmp_path), "--root", str(root)]) == 2
    assert "events.parquet: No such file" in capsys.readouterr().err
    assert not root.exists()
