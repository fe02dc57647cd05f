"""Your own files become canonical tables, or the error names the cell to mend."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from offline.datasets.files import build
from offline.events import CanonicalTables, validate
from offline.rules import CONTINUOUS_RULE, ConfigError, InvalidTables, Problem

DOCUMENTATION = Path(__file__).parents[4] / "docs" / "data.md"
Files = dict[str, str]
Bend = Callable[[Files], object]


def _march(day: int, hour: int) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def _ms(day: int, hour: int) -> int:
    return int(_march(day, hour).timestamp() * 1000)


def _log() -> Files:
    """The mapping of the documentation and files that fit it, by name."""
    found = re.search(r"```toml\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return {
        "mapping.toml": found.group(1),
        "users.csv": "customer,age_band,city,spend\nu1,old,,1.5\nu2,,Bath,\n7,young,Bath,-2\n",
        "items.csv": (
            "sku,title,department,type,brand\n1,oats,food,oats,a\n2,,food,,\n3,rye,food,rye,b\n"
        ),
        "clicks.csv": (
            "customer,sku,clicked_at,page_view,bought\n"
            f"u1,1,{_ms(3, 1)},v1,0\n"
            f"u1,2,{_ms(3, 1)},v1,1\n"
            f"u2,1,{_ms(5, 2)},v2,true\n"
            f"7,1,{_ms(6, 3)},v3,FALSE\n"
            f"u1,3,{_ms(9, 3)},v4,1\n"
        ),
        "orders.csv": (
            "customer,sku,ordered_at\n"
            "u1,2,2026-03-02\n"
            "u2,1,2026-03-05T10:00:00+02:00\n"
            "7,3,2026-03-06 12:30:00.250\n"
            "u1,1,2027-01-01T00:00:00Z\n"
        ),
        "searches.csv": 'customer,words,searched_at\nu2,"oats, rolled",2026-03-04T00:00:00\n',
    }


def _build(folder: Path, files: Files) -> CanonicalTables:
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return build(folder / "mapping.toml", folder / "out")


def _swap(name: str, old: str, new: str) -> Bend:
    """Replace a text that is there once."""

    def bend(files: Files) -> None:
        assert files[name].count(old) == 1
        files[name] = files[name].replace(old, new)

    return bend


def _cut(name: str, *patterns: str) -> Bend:
    """Remove what the patterns match."""

    def bend(files: Files) -> None:
        for pattern in patterns:
            files[name], count = re.subn(pattern, "", files[name])
            assert count

    return bend


def _bent(*bends: Bend) -> Files:
    files = _log()
    for bend in bends:
        bend(files)
    return files


def test_documented_mapping_works(tmp_path: Path) -> None:
    """The mapping in the documentation turns fitting files into valid canonical tables."""
    tables = _build(tmp_path, _log())
    assert validate(tables) == []
    assert tables.schema.discrete == ("age_band", "city")
    assert tables.users().to_pylist() == [
        {"user_id": "7", "age_band": "young", "city": "Bath", "spend": -2.0},
        {"user_id": "u1", "age_band": "old", "city": None, "spend": 1.5},
        {"user_id": "u2", "age_band": None, "city": "Bath", "spend": None},
    ]
    assert tables.items()["text"].to_pylist() == ["oats", None, "rye"]
    assert [(row["request_id"], row["label"]) for row in tables.clicks().to_pylist()] == [
        ("v1", 0),
        ("v1", 1),
        ("v2", 1),
        ("v3", 0),
    ]


def test_times_become_utc(tmp_path: Path) -> None:
    """Zones are turned to UTC, times without one are UTC, and milliseconds are kept."""
    tables = _build(tmp_path, _log())
    assert [str(row["time"]) for row in tables.purchases().to_pylist()] == [
        "2026-03-02 00:00:00",
        "2026-03-05 08:00:00",
        "2026-03-06 12:30:00.250000",
    ]
    assert tables.clicks()["time"][0].as_py() == _march(3, 1).replace(tzinfo=None)


def test_events_outside_the_period_are_left_out(tmp_path: Path) -> None:
    """A log may be longer than the period of its split."""
    tables = _build(tmp_path, _log())
    assert "v4" not in tables.clicks()["request_id"].to_pylist()
    assert tables.purchases().num_rows == 3


def test_parquet_gives_the_same_tables(tmp_path: Path) -> None:
    """Typed Parquet columns and their CSV text give equal bytes."""
    expected = _build(tmp_path, _log())
    for name in ("users", "items", "clicks", "orders", "searches"):
        table = pa_csv.read_csv(
            tmp_path / f"{name}.csv",
            convert_options=pa_csv.ConvertOptions(strings_can_be_null=True),
        )
        for position, column in enumerate(table.schema):
            if pa.types.is_timestamp(column.type):
                typed = table[column.name].cast(pa.timestamp("us"))
                table = table.set_column(position, column.name, typed)
        pq.write_table(table, tmp_path / f"{name}.parquet")
    mapping = (tmp_path / "mapping.toml").read_text(encoding="utf-8").replace(".csv", ".parquet")
    (tmp_path / "typed.toml").write_text(mapping, encoding="utf-8")
    tables = build(tmp_path / "typed.toml", tmp_path / "typed")
    for file in sorted(expected.folder.iterdir()):
        assert file.read_bytes() == (tables.folder / file.name).read_bytes()


def test_epoch_seconds_may_have_fractions(tmp_path: Path) -> None:
    """Seconds since 1970 keep their milliseconds."""
    seconds = _cut("clicks.csv", r"(?<=\d{10})000(?=,v)")
    files = _bent(_swap("mapping.toml", '"epoch_ms"  ', '"epoch_s"  '), seconds)
    stamp = f"{_ms(6, 3) // 1000},v3"
    files["clicks.csv"] = files["clicks.csv"].replace(stamp, stamp.replace(",", ".125,"))
    time = _build(tmp_path, files).clicks()["time"][3].as_py()
    assert time.isoformat(timespec="milliseconds") == "2026-03-06T03:00:00.125"


def test_searches_and_requests_may_be_left_out(tmp_path: Path) -> None:
    """Without searches the table is empty; without requests a user's clicks at once are one."""
    without = _cut("mapping.toml", r"(?s)\[searches\].*?(?=\[split\])", r"request_id.*\n")
    tables = _build(tmp_path, _bent(without))
    assert tables.searches().num_rows == 0
    requests = tables.clicks()["request_id"].to_pylist()
    assert requests[0] == requests[1]
    assert len(set(requests)) == 3


def _attributed(days: str, purchases: str) -> Files:
    label = re.compile(r"label = .*")
    files = _log()
    files["mapping.toml"] = label.sub(f"attribution_days = {days}", files["mapping.toml"])
    files["orders.csv"] = "customer,sku,ordered_at\n" + purchases
    return files


def test_labels_come_from_purchases_within_the_window(tmp_path: Path) -> None:
    """A click is positive when its user buys its item at its time or within the window."""
    purchases = (
        "u1,1,2026-03-03T01:00:00\n"  # at the click
        "u1,2,2026-03-03T00:59:59\n"  # before the click
        "u2,1,2026-03-05T14:00:00\n"  # as the window closes
        "7,1,2026-03-06T14:59:59\n"  # just within the window
        "7,1,2026-03-06T15:30:00\n"  # the same again, outside
    )
    tables = _build(tmp_path, _attributed("0.5", purchases))
    rows = tables.clicks().to_pylist()
    assert [(row["user_id"], row["item_id"], row["label"]) for row in rows] == [
        ("u1", "1", 1),
        ("u1", "2", 0),
        ("u2", "1", 0),
        ("7", "1", 1),
    ]


def test_outcomes_are_known_before_they_are_learnt_from(tmp_path: Path) -> None:
    """Clicks whose window reaches into the test, or past its end, are left out."""
    files = _attributed("0.5", "u1,1,2026-03-03T01:00:00\n")
    files["clicks.csv"] += f"u2,2,{_ms(5, 13)},open,0\nu2,3,{_ms(6, 13)},late,0\n"
    requests = _build(tmp_path, files).clicks()["request_id"].to_pylist()
    assert requests == ["v1", "v1", "v2", "v3"]


def _without_split(clicks: int, purchases: int) -> Files:
    """One click an hour from 3 March on, one purchase an hour from 2 March on."""
    files = _bent(_cut("mapping.toml", r"(?s)\[split\].*"))
    start, order = _ms(3, 0), _ms(2, 0)
    files["clicks.csv"] = "customer,sku,clicked_at,page_view,bought\n" + "".join(
        f"u1,1,{start + n * 3_600_000},v{n},{n % 2}\n" for n in range(clicks)
    )
    files["orders.csv"] = "customer,sku,ordered_at\n" + "".join(
        f"u1,1,{datetime.fromtimestamp(order / 1000 + n * 3600, tz=UTC).isoformat()}\n"
        for n in range(purchases)
    )
    return files


def test_split_by_rule_cuts_sevenths(tmp_path: Path) -> None:
    """Without a split the last seventh of the clicks is the test, the one before validation."""
    tables = _build(tmp_path, _without_split(clicks=70, purchases=24))
    split, times = tables.schema.split, tables.clicks()["time"].to_pylist()
    assert [times.index(time) for time in (split.validation_start, split.test_start)] == [50, 60]
    assert split.train_start == times[0]
    assert split.history_start == _march(2, 0).replace(tzinfo=None)
    assert len(times) == 70


def test_training_by_rule_leaves_a_history(tmp_path: Path) -> None:
    """When purchases start no earlier than clicks, a seventh of them comes before training."""
    tables = _build(tmp_path, _without_split(clicks=70, purchases=210))
    purchases = tables.purchases()["time"].to_pylist()
    assert purchases.index(tables.schema.split.train_start) == 30


WRONG_ROWS: dict[str, tuple[Bend, Problem]] = {
    "time of another format": (
        _swap("clicks.csv", str(_ms(5, 2)), "2026-03-05"),
        Problem(
            "clicks.csv",
            "clicked_at",
            3,
            "'2026-03-05'",
            "must be milliseconds since 1970, from 1990 to 2099",
        ),
    ),
    "seconds taken for milliseconds": (
        _swap("clicks.csv", str(_ms(5, 2)), str(_ms(5, 2) // 1000)),
        Problem(
            "clicks.csv",
            "clicked_at",
            3,
            repr(str(_ms(5, 2) // 1000)),
            "must be milliseconds since 1970, from 1990 to 2099",
        ),
    ),
    "day that is not in the calendar": (
        _swap("orders.csv", "2026-03-02", "2026-02-30"),
        Problem(
            "orders.csv",
            "ordered_at",
            1,
            "'2026-02-30'",
            "must be an ISO 8601 time, from 1990 to 2099",
        ),
    ),
    "text for a number": (
        _swap("users.csv", ",-2", ",much"),
        Problem("users.csv", "spend", 3, "'much'", "must be a number"),
    ),
    "infinite number": (
        _swap("users.csv", ",-2", ",inf"),
        Problem("users.csv", "spend", 3, "'inf'", CONTINUOUS_RULE),
    ),
    "label of another kind": (
        _swap("clicks.csv", "FALSE", "no"),
        Problem("clicks.csv", "bought", 4, "'no'", "must be 0, 1, false or true"),
    ),
    "missing label": (
        _swap("clicks.csv", ",FALSE", ","),
        Problem("clicks.csv", "bought", 4, "missing", "must be 0 or 1"),
    ),
    "unknown customer": (
        _swap("clicks.csv", "u2,1", "u9,1"),
        Problem("clicks.csv", "customer", 3, "'u9'", "must be one of the user_id of users"),
    ),
    "unknown article": (
        _swap("orders.csv", "7,3", "7,33"),
        Problem("orders.csv", "sku", 3, "'33'", "must be one of the item_id of items"),
    ),
    "customer twice": (
        _swap("users.csv", "u2,,Bath", "u1,,Bath"),
        Problem("users.csv", "customer", 2, "'u1'", "user_id must be unique"),
    ),
    "missing id": (
        _swap("items.csv", "3,rye", ",rye"),
        Problem(
            "items.csv",
            "sku",
            3,
            "missing",
            "must be 1 to 64 bytes of UTF-8 text without control characters",
        ),
    ),
    "missing time": (
        _swap("searches.csv", "2026-03-04T00:00:00", ""),
        Problem("searches.csv", "searched_at", 1, "missing", "must not be missing"),
    ),
    "page view of two customers": (
        _swap("clicks.csv", f"u1,2,{_ms(3, 1)}", f"u2,2,{_ms(3, 1)}"),
        Problem("clicks.csv", "page_view", 2, "'v1'", "a request_id must have one user_id"),
    ),
}


@pytest.mark.parametrize(("bend", "expected"), WRONG_ROWS.values(), ids=WRONG_ROWS.keys())
def test_wrong_cell_is_named_as_in_your_file(tmp_path: Path, bend: Bend, expected: Problem) -> None:
    """A wrong cell is reported by your file, your column and its row; nothing is written."""
    with pytest.raises(InvalidTables) as caught:
        _build(tmp_path, _bent(bend))
    assert expected in caught.value.problems
    assert not (tmp_path / "out").exists()


WRONG_MAPPINGS: dict[str, tuple[Bend, str]] = {
    "no TOML": (_swap("mapping.toml", "[users]", "[users"), r"mapping\.toml: .*line"),
    "unknown key": (_swap("mapping.toml", "side =", "sides ="), "unknown field `sides`"),
    "missing part": (
        _cut("mapping.toml", r"(?s)\[purchases\].*?(?=\[searches\])"),
        "missing required field `purchases`",
    ),
    "unknown time format": (
        _swap("mapping.toml", '"epoch_ms"  ', '"unix"  '),
        r"Invalid enum value 'unix' - at `\$\.clicks\.time_format`",
    ),
    "wrong type": (_swap("mapping.toml", '["brand"]', '"brand"'), r"Expected `array`.*items\.side"),
    "label and window": (
        _swap("mapping.toml", "label =", "attribution_days = 1\nlabel ="),
        r"\[clicks\] needs label or attribution_days, one of the two",
    ),
    "neither label nor window": (
        _cut("mapping.toml", r"label = .*"),
        r"\[clicks\] needs label or attribution_days, one of the two",
    ),
    "window of no length": (
        _swap("mapping.toml", 'label = "bought"', "attribution_days = 0"),
        r"attribution_days is 0.*; expected more than 0",
    ),
    "absent file": (_swap("mapping.toml", "orders.csv", "order.csv"), r"order\.csv is not there"),
    "other kind of file": (
        _swap("mapping.toml", '"orders.csv"', '"mapping.toml"'),
        r"mapping\.toml must end in \.csv or \.parquet",
    ),
    "absent column": (
        _swap("mapping.toml", '"title"', '"name"'),
        r"items\.csv has no column 'name', which \[items\] names for text; it has sku, title",
    ),
    "reserved column": (_swap("mapping.toml", '"city"', '"row"'), "expected names other than"),
    "column twice": (_swap("mapping.toml", '"city"', '"spend"'), "expected names used once"),
    "windows that do not grow": (
        _swap("mapping.toml", "[7, 30, 365]", "[30, 7, 365]"),
        "expected three increasing numbers of days",
    ),
    "boundaries that do not grow": (
        _swap("mapping.toml", "test_end = 2026-03-07", "test_end = 2026-03-06"),
        "boundaries must increase",
    ),
    "part without clicks": (
        _swap("mapping.toml", "test_start = 2026-03-06T00", "test_start = 2026-03-06T04"),
        "no click is left for test",
    ),
    "ragged lines": (_swap("users.csv", "u2,,Bath,", "u2,,Bath"), r"users\.csv"),
}


@pytest.mark.parametrize(("bend", "message"), WRONG_MAPPINGS.values(), ids=WRONG_MAPPINGS.keys())
def test_wrong_mapping_is_explained(tmp_path: Path, bend: Bend, message: str) -> None:
    """A wrong mapping is refused with what is wrong and where; nothing is written."""
    with pytest.raises(ConfigError, match=message):
        _build(tmp_path, _bent(bend))
    assert not (tmp_path / "out").exists()


def test_absent_mapping_is_named(tmp_path: Path) -> None:
    """A mapping that is not there is named."""
    with pytest.raises(ConfigError, match=r"cannot read the mapping .*nowhere\.toml"):
        build(tmp_path / "nowhere.toml", tmp_path / "out")


def test_fractions_are_no_ids(tmp_path: Path) -> None:
    """Ids that a tool turned into fractions (1.0, 2.0) are refused, not taken as they are."""
    files = _log()
    _swap("mapping.toml", "items.csv", "items.parquet")(files)
    table = pa.table({"sku": [1.0, 2.0], "title": ["a", "b"], "department": ["c", "c"]})
    table = table.append_column("type", table["title"]).append_column("brand", table["title"])
    pq.write_table(table, tmp_path / "items.parquet")
    with pytest.raises(ConfigError, match="column sku holds float64; item_id must be text or"):
        _build(tmp_path, files)


def test_no_click_in_the_log_is_explained(tmp_path: Path) -> None:
    """A log without clicks cannot be split, and the error says so."""
    with pytest.raises(ConfigError, match="needs clicks and purchases"):
        _build(tmp_path, _without_split(clicks=0, purchases=10))
