"""The Complete Journey adapter keeps to its protocol, rule by rule."""

import copy
from collections import Counter, defaultdict
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from offline.datasets import complete_journey
from offline.datasets.complete_journey import build, build_from
from offline.events import CanonicalTables, validate
from offline.rules import ConfigError
from tests.unit.offline.datasets.small_panel import (
    UNKNOWN_PRODUCT,
    Exposure,
    Panel,
    expected_exposures,
    random_panel,
)

WEEKS = range(14, 33)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """The panel that most tests look at."""
    return random_panel(seed=1)


@pytest.fixture(scope="module")
def source(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The panel's files."""
    return panel.save(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def tables(source: Path, tmp_path_factory: pytest.TempPathFactory) -> CanonicalTables:
    """The canonical tables of the design window."""
    return build_from(source, tmp_path_factory.mktemp("tables"), "design")


def _exposures(tables: CanonicalTables) -> set[Exposure]:
    rows = tables.clicks().to_pylist()
    return {
        (int(row["user_id"]), int(row["request_id"]), int(row["item_id"]), row["label"])
        for row in rows
    }


def _expected(panel: Panel, last_week_counted: int = -1) -> set[Exposure]:
    weeks = [expected_exposures(panel, week, last_week_counted) for week in WEEKS]
    return set().union(*weeks)


def test_rows_are_those_counted_by_hand(panel: Panel, tables: CanonicalTables) -> None:
    """The rows are the protocol's, as a slow and plain count gives them, labels included."""
    assert len(_exposures(tables)) > 500
    assert _exposures(tables) == _expected(panel)


def test_popularity_leak_would_be_caught(panel: Panel, tables: CanonicalTables) -> None:
    """Counting popularity in the row's own week gives other rows than ours: the test can see it."""
    assert _exposures(tables) != _expected(panel, last_week_counted=0)


def test_purchases_of_the_week_do_not_change_who_is_a_candidate(
    panel: Panel, tables: CanonicalTables, tmp_path: Path
) -> None:
    """Whatever else is bought in the last week, rows of earlier baskets stay as they are."""
    later = copy.deepcopy(panel)
    for household in range(1, 41):
        later.buy(32, household, list(range(40, 61)), 90_000 + household, store=3)
    changed = build_from(later.save(tmp_path / "package"), tmp_path / "tables", "design")
    assert _exposures(changed) == _exposures(tables)


def test_negatives_stand_beside_their_positive(panel: Panel, tables: CanonicalTables) -> None:
    """Negatives were on show in the basket's store and week and were not bought in it."""
    store = {line["basket_id"]: line["store_id"] for line in panel.lines}
    week = {line["basket_id"]: line["week"] for line in panel.lines}
    bought = defaultdict(set)
    for line in panel.lines:
        bought[line["basket_id"]].add(line["product_id"])
    shown = {(row["week"], row["store_id"], row["product_id"]) for row in panel.shown}
    for _, basket, product, label in _exposures(tables):
        assert (week[basket], store[basket], product) in shown
        assert (product in bought[basket]) == bool(label)


def test_no_candidate_twice_and_two_to_four_negatives_each(tables: CanonicalTables) -> None:
    """A basket shows a product once, and has two to four negatives for every positive."""
    rows = tables.clicks().to_pylist()
    assert max(Counter((row["request_id"], row["item_id"]) for row in rows).values()) == 1
    positives = Counter(row["request_id"] for row in rows if row["label"])
    negatives = Counter(row["request_id"] for row in rows if not row["label"])
    assert positives.keys() == negatives.keys()
    for request, count in positives.items():
        assert 2 * count <= negatives[request] <= 4 * count


def test_odd_departments_are_bought_but_never_shown(tables: CanonicalTables) -> None:
    """Fuel, coupons, miscellaneous and unknown goods stay in purchases and out of exposures."""
    odd = {"1", "2", "3", "4", str(UNKNOWN_PRODUCT)}
    assert odd <= set(tables.purchases()["item_id"].to_pylist())
    assert not odd & set(tables.clicks()["item_id"].to_pylist())


def test_purchases_are_the_windows_lines(panel: Panel, tables: CanonicalTables) -> None:
    """Every line from four weeks before training to the end of the test counts, none other."""
    lines = [line for line in panel.lines if 10 <= line["week"] < 33]
    assert len(lines) < len(panel.lines)
    expected = Counter(
        (str(line["household_id"]), str(line["product_id"]), line["transaction_timestamp"])
        for line in lines
    )
    rows = tables.purchases().to_pylist()
    assert Counter((row["user_id"], row["item_id"], row["time"]) for row in rows) == expected


def test_split_starts_each_week_with_its_first_basket(
    panel: Panel, tables: CanonicalTables
) -> None:
    """Boundaries come from the weeks' own baskets."""
    split = tables.schema.split
    for boundary, week in (
        (split.history_start, 10),
        (split.train_start, 14),
        (split.validation_start, 26),
        (split.test_start, 27),
        (split.test_end, 33),
    ):
        times = [line["transaction_timestamp"] for line in panel.lines if line["week"] == week]
        assert boundary == min(times)


def test_users_are_all_households(panel: Panel, tables: CanonicalTables) -> None:
    """Households without demographics, or without purchases in the window, are users too."""
    users = {row["user_id"]: row for row in tables.users().to_pylist()}
    assert users.keys() == {str(line["household_id"]) for line in panel.lines}
    assert users["1"]["age"] == "age 1"
    assert users["4"]["age"] is None
    assert users["11"]["kids_count"] is None


def test_items_have_readable_names(tables: CanonicalTables) -> None:
    """Items carry a name made of what is known, categories and side fields."""
    items = {row["item_id"]: row for row in tables.items().to_pylist()}
    assert items["11"] == {
        "item_id": "11",
        "text": "frozen fruit 11, frozen, 10 oz",
        "department": "GROCERY",
        "product_category": "FROZEN",
        "product_type": "FROZEN FRUIT 11",
        "brand": "Private",
        "manufacturer": "4",
    }
    assert items["15"]["text"] == "frozen fruit 15"
    assert items[str(UNKNOWN_PRODUCT)]["text"] is None


def test_schema_says_what_the_data_are(tables: CanonicalTables) -> None:
    """The dataset says that rows are sampled exposures and quotes both statements of origin."""
    assert (tables.schema.event, tables.schema.clicks_are_sampled) == ("exposure", True)
    assert "CC0" in tables.schema.provenance
    assert "simulated" in tables.schema.provenance
    assert tables.searches().num_rows == 0
    assert validate(tables) == []


def test_two_builds_give_equal_bytes(source: Path, tables: CanonicalTables, tmp_path: Path) -> None:
    """Nothing in the tables depends on chance, time or threads."""
    build_from(source, tmp_path, "design")
    for file in sorted(tables.folder.iterdir()):
        assert file.read_bytes() == (tmp_path / file.name).read_bytes()


def test_limit_keeps_whole_households(
    source: Path, tables: CanonicalTables, tmp_path: Path
) -> None:
    """A limited build holds the first households by hash with exactly the rows they had."""
    households = {str(user["user_id"]) for user in tables.users().to_pylist()}
    first = sorted(households, key=lambda household: sha256(household.encode()).digest())[:7]
    limited = build_from(source, tmp_path, "design", limit_households=7)
    assert limited.users()["user_id"].to_pylist() == sorted(first)
    kept = {row for row in _exposures(tables) if str(row[0]) in first}
    assert _exposures(limited) == kept
    assert kept


def test_windows_are_those_of_the_protocol() -> None:
    """The design window ends where the replication window begins."""
    assert {name: vars(window) for name, window in complete_journey.WINDOWS.items()} == {
        "design": {"train": 14, "validation": 26, "test": 27, "end": 33},
        "replication": {"train": 33, "validation": 43, "test": 44, "end": 48},
    }


@pytest.mark.parametrize(
    ("window", "limit", "message"),
    [
        ("tomorrow", None, "window is 'tomorrow'; expected one of design, replication"),
        ("design", 0, "limit_households is 0; expected 1 or more"),
        ("replication", None, "transactions hold no basket of week 43"),
    ],
)
def test_wrong_arguments_are_refused(
    source: Path, tmp_path: Path, window: str, limit: int | None, message: str
) -> None:
    """An unknown window, an empty limit or a log that is too short is named; nothing is written."""
    with pytest.raises(ConfigError, match=message):
        build_from(source, tmp_path / "out", window, limit)
    assert not (tmp_path / "out").exists()


def test_overlapping_weeks_are_refused(panel: Panel, tmp_path: Path) -> None:
    """A basket inside another week would blur every boundary: it is an error."""
    blurred = copy.deepcopy(panel)
    blurred.lines[-1]["transaction_timestamp"] -= timedelta(days=10)
    source = blurred.save(tmp_path / "package")
    with pytest.raises(ConfigError, match="week 33 starts at"):
        build_from(source, tmp_path / "out", "design")


def test_incomplete_package_is_named(panel: Panel, tmp_path: Path) -> None:
    """A package without one of its files is refused by that file's name."""
    source = panel.save(tmp_path / "package")
    (source / "products.parquet").unlink()
    with pytest.raises(ConfigError, match=r"has no products\.parquet"):
        build_from(source, tmp_path / "out", "design")


def test_absent_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says what to install."""
    monkeypatch.setattr(complete_journey, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match="pip install no_such_package"):
        build(tmp_path, "design")


@pytest.mark.slow
def test_real_panel_has_the_expected_size(tmp_path: Path) -> None:
    """The real package gives the design window's rows: the protocol's data have not moved."""
    tables = build(tmp_path, "design")
    split = tables.schema.split
    rows = pq.read_table(tables.path("clicks"), columns=["time", "user_id", "label"]).to_pylist()
    train = [row for row in rows if row["time"] < split.validation_start]
    test = [row for row in rows if row["time"] >= split.test_start]
    assert (len(train), len(test)) == (276_526, 148_903)
    assert len({row["user_id"] for row in test}) == 1951
    assert tables.users().num_rows == 2469
