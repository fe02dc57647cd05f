"""Your own log: CSV or Parquet files, described by a small TOML mapping."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import ibis

from offline.datasets.mapping import (
    ClicksFile,
    LogMapping,
    PurchasesFile,
    SearchesFile,
    TimeFormat,
    load,
)
from offline.engine import Engine, EngineError, connect
from offline.events import CanonicalTables, DatasetSchema, Split
from offline.rules import (
    Check,
    ConfigError,
    InvalidTables,
    Roles,
    Source,
    content_checks,
    first_problems,
    numbered,
)

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
MS_PER_UNIT: Mapping[TimeFormat, int] = {"epoch_s": 1000, "epoch_ms": 1}
LABELS = (("0", 0), ("1", 1), ("false", 0), ("true", 1))


@dataclass(frozen=True)
class _Column:
    """A canonical column, the file's column it is read from, and how."""

    name: str
    source: str
    read: Callable[[ibis.Value], ibis.Value]
    rule: str = ""
    """What a value must be to be read; empty when every value can be."""


@dataclass(frozen=True)
class _Log:
    """Files as they were read: canonical columns and ``row`` by table, and where they are from."""

    rows: dict[str, ibis.Table]
    sources: dict[str, Source]


def build(mapping: Path, out: Path) -> CanonicalTables:
    """Write the canonical tables of the log that a mapping describes.

    Events outside the split's period are left out. Without ``[split]``, the last seventh of the
    clicks is the test and the seventh before it the validation; training starts with the first
    click, but not before a seventh of the purchases, so that groups have a history.
    With ``attribution_days``, clicks whose window is still open when the log ends are left out,
    and so are those before the test whose window reaches into it.

    Args:
        mapping: the TOML file; file names in it are relative to its folder.
        out: an empty folder, or one to be made.

    Returns:
        The tables; equal files give equal bytes.

    Raises:
        ConfigError: when the mapping, or a file or column it names, is wrong.
        InvalidTables: when rows break rules; files, columns and rows are named as in your files.
    """
    described = load(mapping)
    with connect() as engine:
        try:
            log = _read_all(engine, described, mapping.parent)
            return _build(engine, described, log, out)
        except EngineError as error:
            raise ConfigError(f"{mapping}: {error}") from error


def _build(engine: Engine, described: LogMapping, log: _Log, out: Path) -> CanonicalTables:
    rows = log.rows
    rows["clicks"] = _with_requests(rows["clicks"])
    within = timedelta(days=described.clicks.attribution_days or 0)
    if within:
        rows["clicks"] = engine.materialise(_attributed(rows["clicks"], rows["purchases"], within))
    labels = {
        "users": described.users.discrete,
        "items": described.items.categories + described.items.side,
    }
    roles = Roles(labels=labels, continuous=described.users.continuous)
    _refuse(engine, content_checks(rows, roles), log.sources)
    schema = _schema(described, _split(engine, described, rows))
    tables = _in_period(rows, schema.split, within)
    _check_parts(engine, tables["clicks"], schema.split)
    return CanonicalTables.write(out, schema, tables, engine)


def _schema(described: LogMapping, split: Split) -> DatasetSchema:
    return DatasetSchema(
        name=described.name,
        discrete=described.users.discrete,
        continuous=described.users.continuous,
        categories=described.items.categories,
        side=described.items.side,
        event=described.event,
        clicks_are_sampled=described.clicks_are_sampled,
        profile_windows_days=described.profile_windows_days,
        split=split,
        provenance=described.provenance,
    )


def _refuse(engine: Engine, checks: Iterable[Check], sources: Mapping[str, Source]) -> None:
    problems = first_problems(engine, checks, sources)
    if problems:
        raise InvalidTables(problems)


def _read_all(engine: Engine, described: LogMapping, folder: Path) -> _Log:
    log = _Log({"searches": _no_searches()}, {"searches": Source("searches", {})})
    unread: list[Check] = []
    for name, columns in _columns(described).items():
        file = getattr(described, name).file
        raw = engine.materialise(numbered(_open(engine, folder / file, name, columns)))
        read = {column.name: column.read(raw[f"raw_{column.name}"]) for column in columns}
        log.rows[name] = raw.select("row", **read)
        log.sources[name] = Source(file, {column.name: column.source for column in columns})
        unread += [_unread(raw, name, column) for column in columns if column.rule]
    _refuse(engine, unread, log.sources)
    return log


def _open(engine: Engine, path: Path, table: str, columns: Sequence[_Column]) -> ibis.Table:
    """The file's wanted columns, each as ``raw_`` and its canonical name."""
    if not path.is_file():
        raise ConfigError(f"{table}.file: {path} is not there")
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{table}.file: {path.name} must end in .csv or .parquet")
    rows = engine.read_csv(path) if path.suffix == ".csv" else engine.read_parquet(path)
    for column in columns:
        if column.source not in rows.columns:
            raise ConfigError(
                f"{path.name} has no column {column.source!r}, which [{table}] names for "
                f"{column.name}; it has {', '.join(rows.columns)}"
            )
        kind = rows[column.source].type()
        if column.read is _text and (kind.is_floating() or kind.is_decimal()):
            raise ConfigError(
                f"{path.name}: column {column.source} holds {kind}; "
                f"{column.name} must be text or whole numbers"
            )
    return rows.select({f"raw_{column.name}": rows[column.source] for column in columns})


def _unread(raw: ibis.Table, table: str, column: _Column) -> Check:
    value = raw[f"raw_{column.name}"]
    broken = raw.filter(value.notnull() & column.read(value).isnull())
    return Check(table, column.name, column.rule, broken.select("row", value=value))


def _columns(described: LogMapping) -> dict[str, list[_Column]]:
    users, items, clicks = described.users, described.items, described.clicks
    columns = {
        "users": [
            _Column("user_id", users.user_id, _text),
            *(_Column(name, name, _text) for name in users.discrete),
            *(_Column(name, name, _number, "must be a number") for name in users.continuous),
        ],
        "items": [
            _Column("item_id", items.item_id, _text),
            _Column("text", items.text, _text),
            *(_Column(name, name, _text) for name in items.categories + items.side),
        ],
        "clicks": _click_columns(clicks),
        "purchases": _event_columns(described.purchases, "item_id", described.purchases.item_id),
    }
    if described.searches is not None:
        query = described.searches.query
        columns["searches"] = _event_columns(described.searches, "query", query)
    return columns


def _event_columns(
    events: ClicksFile | PurchasesFile | SearchesFile, what: str, source: str
) -> list[_Column]:
    expected = {
        "iso": "an ISO 8601 time",
        "epoch_s": "seconds since 1970",
        "epoch_ms": "milliseconds since 1970",
    }[events.time_format]
    return [
        _Column("user_id", events.user_id, _text),
        _Column(what, source, _text),
        _Column(
            "time",
            events.time,
            partial(_time, time_format=events.time_format),
            f"must be {expected}, from {EARLIEST.year} to {LATEST.year - 1}",
        ),
    ]


def _click_columns(clicks: ClicksFile) -> list[_Column]:
    columns = _event_columns(clicks, "item_id", clicks.item_id)
    if clicks.request_id is not None:
        columns.append(_Column("request_id", clicks.request_id, _text))
    if clicks.label is not None:
        columns.append(_Column("label", clicks.label, _label, "must be 0, 1, false or true"))
    return columns


def _text(value: ibis.Value) -> ibis.Value:
    return value.cast("string")


def _number(value: ibis.Value) -> ibis.Value:
    return value.try_cast("float64") if value.type().is_string() else value.cast("float64")


def _label(value: ibis.Value) -> ibis.Value:
    return value.cast("string").lower().cases(*LABELS).cast("int8")


def _time(value: ibis.Value, time_format: TimeFormat) -> ibis.Value:
    if value.type().is_timestamp() or value.type().is_date():
        moment = value.cast("timestamp('UTC')").cast("timestamp")
    elif time_format == "iso":
        moment = value.cast("string").try_cast("timestamp('UTC')").cast("timestamp")
    else:
        return _epoch(value, MS_PER_UNIT[time_format])
    first, end = (ibis.timestamp(time.replace(tzinfo=None)) for time in (EARLIEST, LATEST))
    return ibis.ifelse((moment >= first) & (moment < end), moment, None).cast("timestamp(3)")


def _epoch(value: ibis.Value, ms_per_unit: int) -> ibis.Value:
    ms = _number(value) * ms_per_unit
    first, end = (time.timestamp() * 1000 for time in (EARLIEST, LATEST))
    whole = ibis.ifelse((ms >= first) & (ms < end), ms, None).round().cast("int64")
    return whole.as_timestamp("ms").cast("timestamp(3)")


def _no_searches() -> ibis.Table:
    names = {"row": "int64", "user_id": "string", "query": "string", "time": "timestamp(3)"}
    return ibis.memtable([], schema=names)


def _with_requests(clicks: ibis.Table) -> ibis.Table:
    """Where the log knows no requests, the clicks of a user at one time are one request."""
    if "request_id" in clicks.columns:
        return clicks
    parts = [clicks["user_id"], clicks["time"].cast("string")]
    return clicks.mutate(request_id=ibis.literal("|").join(parts).hexdigest().substr(0, 32))


def _attributed(clicks: ibis.Table, purchases: ibis.Table, within: timedelta) -> ibis.Table:
    """Clicks with label 1 where the user bought the item at or after the click and ``within``."""
    bought = purchases.select("user_id", "item_id", bought_at="time")
    led_to = [
        clicks["user_id"] == bought["user_id"],
        clicks["item_id"] == bought["item_id"],
        bought["bought_at"] >= clicks["time"],
        bought["bought_at"] < clicks["time"] + ibis.interval(seconds=int(within.total_seconds())),
    ]
    positive = clicks.semi_join(bought, led_to).select("row", bought=ibis.literal(True))
    joined = clicks.left_join(positive, "row")
    label = ibis.ifelse(joined["bought"].notnull(), 1, 0).cast("int8")
    return joined.select(*clicks.columns, label=label)


def _split(engine: Engine, described: LogMapping, rows: Mapping[str, ibis.Table]) -> Split:
    if described.split is not None:
        given = described.split
        return Split(*(_as_utc(getattr(given, field.name)) for field in fields(Split)))
    clicks, purchases, searches = rows["clicks"], rows["purchases"], rows["searches"]
    times = [table.select("time") for table in (clicks, purchases, searches)]
    everything = times[0].union(times[1]).union(times[2])
    return Split(
        history_start=_time_at(engine, everything, 0),
        train_start=max(_time_at(engine, clicks, 0), _time_at(engine, purchases, 1)),
        validation_start=_time_at(engine, clicks, 5),
        test_start=_time_at(engine, clicks, 6),
        test_end=_time_at(engine, everything, 7) + timedelta(milliseconds=1),
    )


def _time_at(engine: Engine, events: ibis.Table, sevenths: int) -> datetime:
    """Time of the event that has so many sevenths of the events before it; 7 is the last one."""
    times = engine.arrow(events.select("time").order_by("time"))["time"]
    if len(times) == 0:
        raise ConfigError("a log without [split] needs clicks and purchases; one of them is empty")
    time: datetime = times[min(len(times) * sevenths // 7, len(times) - 1)].as_py()
    return time


def _as_utc(time: datetime) -> datetime:
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _in_period(
    rows: Mapping[str, ibis.Table], split: Split, within: timedelta
) -> dict[str, ibis.Table]:
    """Events of the split's period, without clicks whose outcome was open at a boundary."""
    tables = dict(rows)
    for name in ("clicks", "purchases", "searches"):
        tables[name] = rows[name].filter(
            (rows[name]["time"] >= ibis.timestamp(split.history_start))
            & (rows[name]["time"] < ibis.timestamp(split.test_end))
        )
    time = tables["clicks"]["time"]
    for boundary in (split.test_start, split.test_end):
        latest = ibis.timestamp(boundary - within)
        mature = (time >= ibis.timestamp(boundary)) | (time <= latest)
        tables["clicks"] = tables["clicks"].filter(mature)
    return tables


def _check_parts(engine: Engine, clicks: ibis.Table, split: Split) -> None:
    parts = {
        "training": (split.train_start, split.validation_start),
        "validation": (split.validation_start, split.test_start),
        "test": (split.test_start, split.test_end),
    }
    for name, (start, end) in parts.items():
        time = clicks["time"]
        part = clicks.filter((time >= ibis.timestamp(start)) & (time < ibis.timestamp(end)))
        if not engine.arrow(part.limit(1)):
            raise ConfigError(
                f"no click is left for {name}, from {start.isoformat()} to {end.isoformat()}; "
                "give a longer log, or a [split] that suits it"
            )
