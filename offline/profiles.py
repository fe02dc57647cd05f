"""Profiles: what is known of every user at a cut, and the texts that a writer makes of it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from model.profile_text import MAX_QUERIES, TEMPLATE_VERSION, CategoryCount, UserFacts
from model.whole_file import whole_file
from offline.engine import Engine
from offline.progress import track_rows
from offline.writers.template import TemplateWriter
from offline.writers.writer import ProfileWriter, WrittenProfile

WINDOWS = ("recent", "medium", "long")
_USERS_AT_ONCE = 8192


@dataclass(frozen=True)
class ProfileSources:
    """The canonical tables and the columns that profiles read."""

    users: ibis.Table
    items: ibis.Table
    purchases: ibis.Table
    searches: ibis.Table
    discrete: tuple[str, ...]
    """Discrete attribute columns, in profile order."""
    continuous: tuple[str, ...]
    """Continuous attribute columns, told after the discrete ones."""
    categories: tuple[str, ...]
    """Category columns, coarse to fine; the finest two are told."""
    windows_days: tuple[float, float, float]
    """Where the recent, medium and long windows end, in days before the cut, increasing."""
    history_start: datetime
    """Events before this moment are not used."""


@dataclass
class _Behaviour:
    """The purchases and queries of one user while they are gathered."""

    windows: dict[str, list[CategoryCount]] = field(
        default_factory=lambda: {name: [] for name in WINDOWS}
    )
    queries: list[str] = field(default_factory=list)


def write_profiles(
    engine: Engine,
    sources: ProfileSources,
    cut: datetime,
    folder: Path,
    writer: ProfileWriter | None = None,
) -> None:
    """Build the profiles at a cut and write them as Parquet.

    Args:
        engine: runs the expressions.
        sources: the canonical tables.
        cut: only events strictly before it count.
        folder: an existing folder. ``profiles.parquet`` and ``writing.json`` (the writer, and how
            many profiles it, the template or nobody wrote) appear in it whole or not at all.
        writer: writes the texts; None = the template.

    Raises:
        WriterFailed: when the writer cannot go on.
    """
    table = build_profiles(engine, sources, cut, writer)
    counts = Counter(name or "nobody" for name in table["writer"].to_pylist())
    provenance = (writer or TemplateWriter()).provenance
    writing = asdict(provenance) | {"profiles": dict(sorted(counts.items()))}
    with whole_file(folder / "writing.json") as partial:
        partial.write_text(json.dumps(writing, indent=1))
    with whole_file(folder / "profiles.parquet") as partial:
        pq.write_table(table, partial)


def build_profiles(
    engine: Engine, sources: ProfileSources, cut: datetime, writer: ProfileWriter | None = None
) -> pa.Table:
    """Build the profile of every user at a cut.

    Args:
        engine: runs the expressions.
        sources: the canonical tables.
        cut: only purchases and searches strictly before it, and not before ``history_start``,
            count.
        writer: writes the texts; None = the template.

    Returns:
        ``user_id``, one string column ``section_<name>`` per section, and ``writer`` (who wrote
        the row: the writer, or the template where a language model failed; null where nothing is
        known but attributes, or nothing at all), a row per user, sorted by user_id; a user without
        facts has empty sections. The schema's metadata names the writer with its model, revision,
        prompt, schema, sampling and telling, the template version and the cut.

    Raises:
        WriterFailed: when the writer cannot go on.

    Source: section 4.2.1.
    """
    chosen = writer or TemplateWriter()
    names = ("user_id", *sources.discrete, *sources.continuous)
    users = engine.arrow(sources.users.select(*names).order_by("user_id"))
    behaviours = _behaviours(engine, sources, cut)
    schema = _schema(chosen, cut)
    batches = []
    with track_rows("profiles", len(users)) as advance:
        for start in range(0, len(users), _USERS_AT_ONCE):
            rows = users.slice(start, _USERS_AT_ONCE).to_pylist()
            ids = [str(row.pop("user_id")) for row in rows]
            known = [behaviours.pop(user_id, _Behaviour()) for user_id in ids]
            facts = [_facts(*pair) for pair in zip(rows, known, strict=True)]
            batches.append(_batch(schema, ids, chosen.write(facts, advance)))
    return pa.Table.from_batches(batches, schema=schema)


def _schema(writer: ProfileWriter, cut: datetime) -> pa.Schema:
    columns = ("user_id", *(f"section_{name}" for name in writer.sections), "writer")
    metadata: dict[str | bytes, str | bytes] = dict(asdict(writer.provenance).items())
    metadata |= {
        "profile_writer": writer.provenance.identity,
        "template_version": TEMPLATE_VERSION,
        "cut": cut.isoformat(),
    }
    return pa.schema([(name, pa.string()) for name in columns], metadata=metadata)


def _facts(attributes: dict[str, Any], known: _Behaviour) -> UserFacts:
    return UserFacts(attributes, queries=known.queries, **known.windows)


def _batch(schema: pa.Schema, user_ids: list[str], written: list[WrittenProfile]) -> pa.RecordBatch:
    sections = zip(*(profile.sections for profile in written), strict=True)
    columns = [user_ids, *map(list, sections), [profile.writer for profile in written]]
    return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema)


def _behaviours(engine: Engine, sources: ProfileSources, cut: datetime) -> dict[str, _Behaviour]:
    behaviours: dict[str, _Behaviour] = {}
    for user_id, window, parent, leaf, count in _rows(engine.arrow(_counts(sources, cut))):
        behaviour = behaviours.setdefault(user_id, _Behaviour())
        behaviour.windows[WINDOWS[window]].append(CategoryCount(parent, leaf, count))
    for user_id, query in _rows(engine.arrow(_queries(sources, cut))):
        behaviours.setdefault(user_id, _Behaviour()).queries.append(query)
    return behaviours


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _counts(sources: ProfileSources, cut: datetime) -> ibis.Table:
    """Purchases by user, window and category; a missing category is ""."""
    ends = [cut - timedelta(days=days) for days in sources.windows_days]
    bought = _before(sources.purchases, sources.history_start, cut)
    bought = bought.filter(bought.time >= ends[-1])
    window = ibis.cases((bought.time >= ends[0], 0), (bought.time >= ends[1], 1), else_=2)
    joined = bought.mutate(window=window).join(_item_categories(sources), "item_id")
    keys = ["user_id", "window", "parent", "leaf"]
    counts = joined.group_by(keys).aggregate(count=lambda table: table.count())
    return counts.order_by(keys).select(*keys, "count")


def _item_categories(sources: ProfileSources) -> ibis.Table:
    items = sources.items
    finest = [items[name].fill_null("") for name in sources.categories[-2:]]
    parent, leaf = (finest + [ibis.literal("")] * 2)[:2]
    return items.select("item_id", parent=parent, leaf=leaf)


def _queries(sources: ProfileSources, cut: datetime) -> ibis.Table:
    """The latest distinct queries of each user, latest first; ties by their text."""
    oldest = max(sources.history_start, cut - timedelta(days=sources.windows_days[-1]))
    asked = _before(sources.searches, oldest, cut)
    latest = asked.group_by("user_id", "query").aggregate(time=lambda table: table.time.max())
    order = [ibis.desc("time"), ibis.asc("query")]
    ranked = latest.mutate(
        rank=ibis.row_number().over(ibis.window(group_by="user_id", order_by=order))
    )
    kept = ranked.filter(ranked["rank"] < MAX_QUERIES)
    return kept.order_by("user_id", "rank").select("user_id", "query")


def _before(events: ibis.Table, start: datetime, cut: datetime) -> ibis.Table:
    return events.filter(events.time >= start, events.time < cut)
