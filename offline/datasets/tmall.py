"""Tmall brands: real clicks and purchases of brands by day, without attributes and without text."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import ibis

from offline.datasets.files import EARLIEST, LATEST
from offline.engine import Engine, EngineError, connect
from offline.events import CanonicalTables, DatasetSchema, Split
from offline.rules import Check, ConfigError, InvalidTables, Source, first_problems, numbered

EVENTS_FILE: Final = "events.parquet"
CLICK: Final = 0
BUY: Final = 1
TYPES: Final = (CLICK, BUY, 2, 3)
"""Clicks, purchases, favourites and carts; the last two are not read."""
WITHIN_DAYS: Final = 1
"""A click is positive when the brand is bought on its day or so many days later."""
TRAIN, VALIDATION, TEST = 2, 5, 6
"""Sevenths of the days before which history, training and validation end."""
FEWEST_DAYS: Final = 14
POPULARITY: Final = ((10, "leading"), (4, "popular"), (2, "familiar"), (1, "niche"))
"""Least users who clicked on a brand during the history, and the word for it."""
WINDOWS_DAYS: Final = (7, 30, 120)
PROVENANCE: Final = (
    "Clicks and purchases of Tmall brands by day, read from events.parquet in a folder of the "
    "user's own; they come with no statement of licence. Brands have no text, users no "
    "attributes; a brand's category is its popularity in the history. A sample is a user, brand "
    "and day with a click; its label says whether the user bought the brand on that day or the "
    "next. Too few users for a claim about any model."
)


def build(folder: Path, out: Path) -> CanonicalTables:
    """Write the canonical tables of such a log.

    The log knows days alone, so that clicks count from the first moment of their day and
    purchases from the last second of theirs: no purchase is known before the clicks of its day.
    A brand's clicks by a user on one day are one sample, a user's samples of one day one request.
    The days are cut in sevenths: two of history, three of training, one of validation and one of
    test. Clicks whose outcome is still open when the test begins, or when the log ends, are left
    out. Brands have no categories of their own: theirs is how many users clicked on them during
    the history, in words, so that profiles have something to tell; a brand that nobody clicked on
    then has none.

    Args:
        folder: holds ``events.parquet`` with whole numbers ``user_id``, ``brand_id``, ``type``
            (0 click, 1 buy, 2 favourite, 3 cart) and dates ``date``.
        out: an empty folder, or one to be made.

    Returns:
        The tables; equal rows give equal bytes.

    Raises:
        ConfigError: when the file or a column is absent or of another type, or the log too short.
        InvalidTables: when rows break rules.

    Source: docs/data.md.
    """
    with connect() as engine:
        try:
            events = _open(engine, folder / EVENTS_FILE)
            schema = _schema(_split(engine, events))
            return CanonicalTables.write(out, schema, _tables(events, schema), engine)
        except EngineError as error:
            raise ConfigError(f"{folder}: {error}") from error


def _open(engine: Engine, path: Path) -> ibis.Table:
    if not path.is_file():
        raise ConfigError(f"{path} is not there; name the folder that holds {EVENTS_FILE}")
    rows = engine.read_parquet(path)
    for name in ("user_id", "brand_id", "type", "date"):
        if name not in rows.columns:
            raise ConfigError(f"{path} has no column {name!r}; it has {', '.join(rows.columns)}")
        kind = rows[name].type()
        fits = kind.is_date() or kind.is_timestamp() if name == "date" else kind.is_integer()
        if not fits:
            expected = "dates" if name == "date" else "whole numbers"
            raise ConfigError(f"{path}: column {name} holds {kind}; expected {expected}")
    events = engine.materialise(numbered(rows).mutate(date=rows["date"].cast("date")))
    problems = first_problems(engine, _checks(events), {"events": Source(path.name, {})})
    if problems:
        raise InvalidTables(problems)
    return events


def _checks(events: ibis.Table) -> Iterator[Check]:
    for name in ("user_id", "brand_id", "date"):
        missing = events.filter(events[name].isnull())
        yield Check("events", name, "must not be missing", missing.select("row", value=name))
    kind = events["type"]
    unknown = events.filter(kind.isnull() | ~kind.isin(TYPES))
    rule = f"must be one of {', '.join(map(str, TYPES))}"
    yield Check("events", "type", rule, unknown.select("row", value="type"))
    day = events["date"]
    outside = events.filter((day < ibis.date(EARLIEST.date())) | (day >= ibis.date(LATEST.date())))
    rule = f"must be from {EARLIEST.year} to {LATEST.year - 1}"
    yield Check("events", "date", rule, outside.select("row", value="date"))


def _schema(split: Split) -> DatasetSchema:
    return DatasetSchema(
        name="tmall_brands",
        discrete=(),
        continuous=(),
        categories=("popularity",),
        side=(),
        event="click",
        clicks_are_sampled=False,
        profile_windows_days=WINDOWS_DAYS,
        split=split,
        provenance=PROVENANCE,
    )


def _split(engine: Engine, events: ibis.Table) -> Split:
    span = engine.arrow(events.aggregate(first=events["date"].min(), last=events["date"].max()))
    first: date | None = span["first"][0].as_py()
    last: date | None = span["last"][0].as_py()
    days = (last - first).days + 1 if first and last else 0
    if first is None or days < FEWEST_DAYS:
        raise ConfigError(f"{EVENTS_FILE} spans {days} days; expected {FEWEST_DAYS} or more")
    start = datetime.combine(first, time())
    train, validation, test = (
        start + timedelta(days=days * sevenths // 7) for sevenths in (TRAIN, VALIDATION, TEST)
    )
    return Split(start, train, validation, test, start + timedelta(days=days))


def _tables(events: ibis.Table, schema: DatasetSchema) -> dict[str, ibis.Table]:
    named = events.select(
        "type",
        "date",
        user_id=events["user_id"].cast("string"),
        item_id=events["brand_id"].cast("string"),
    )
    bought = named.filter(named["type"] == BUY)
    purchases = bought.select(
        "user_id",
        "item_id",
        time=bought["date"].cast("timestamp(3)") + ibis.interval(seconds=86_399),
    )
    return {
        "users": named.select("user_id").distinct(),
        "items": _items(named, schema.split),
        "clicks": _clicks(named, bought, schema.split),
        "purchases": purchases,
        "searches": schema.empty("searches"),
    }


def _items(named: ibis.Table, split: Split) -> ibis.Table:
    of_history = (named["type"] == CLICK) & (named["date"] < split.train_start.date())
    clicked = (
        named.filter(of_history).group_by("item_id").aggregate(users=ibis._["user_id"].nunique())
    )
    words = [(clicked["users"] >= least, word) for least, word in POPULARITY]
    known = clicked.select("item_id", popularity=ibis.cases(*words))
    items = named.select("item_id").distinct().left_join(known, "item_id")
    return items.select("item_id", "popularity", text=ibis.null("string"))


def _clicks(named: ibis.Table, bought: ibis.Table, split: Split) -> ibis.Table:
    keys = ["user_id", "item_id", "date"]
    clicks = named.filter(named["type"] == CLICK).select(keys).distinct()
    later = [
        bought.select("user_id", "item_id", date=bought["date"] - ibis.interval(days=days))
        for days in range(WITHIN_DAYS + 1)
    ]
    led_to = ibis.union(*later, distinct=True).mutate(bought=ibis.literal(1, "int8"))
    labelled = clicks.left_join(led_to, keys).select(*keys, label=ibis._["bought"].fill_null(0))
    day = labelled["date"].cast("timestamp(3)")
    for boundary in (split.test_start, split.test_end):
        open_from = ibis.timestamp(boundary - timedelta(days=WITHIN_DAYS))
        labelled = labelled.filter((day < open_from) | (day >= ibis.timestamp(boundary)))
    return labelled.select(
        "user_id",
        "item_id",
        "label",
        time=labelled["date"].cast("timestamp(3)"),
        request_id=labelled["user_id"] + "@" + labelled["date"].cast("string"),
    )
