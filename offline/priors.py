"""Group priors: attributes and a purchase sequence for every prefix group, as of a cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from offline.engine import Engine
from offline.vocabulary import ITEMS_PER_CATEGORY, TOP_CATEGORIES

_GROUP = ["depth", "prefix"]
_COLUMNS = (*_GROUP, "size", "items", "times")
_EXACT = "decimal(38, 12)"


@dataclass(frozen=True)
class PriorSources:
    """The canonical tables and the columns that priors read."""

    users: ibis.Table
    items: ibis.Table
    purchases: ibis.Table
    discrete: tuple[str, ...]
    """Discrete attribute columns: a group has their mode."""
    continuous: tuple[str, ...]
    """Continuous attribute columns: a group has their mean."""
    leaf: str
    """The finest category column of ``items``."""
    history_start: datetime
    """Purchases before this moment are not used."""


@dataclass(frozen=True)
class Members:
    """Who belongs to which group."""

    user_ids: Sequence[str]
    codes: NDArray[np.int32]
    """``[N, M]``, rows as ``user_ids``; ``no_group`` at every level for users without a group."""
    no_group: int
    """The code that means "no group": k."""


def write_priors(
    engine: Engine,
    sources: PriorSources,
    members: Members,
    cut: datetime,
    group_len: int,
    path: Path,
) -> None:
    """Build the prior of every prefix group as of a cut and write them as Parquet.

    Args:
        engine: runs the expressions.
        sources: the canonical tables.
        members: the groups; all members count, whoever asks for the prior later (docs/groups.md).
        cut: only purchases strictly before it, and not before ``history_start``, count.
        group_len: items per sequence at most (L_g).
        path: the file; it appears whole or not at all. Equal inputs give equal bytes. Columns:
            ``depth`` int64 (0 = global), ``prefix`` string ("3.1"; "" = global), ``size`` int64,
            a string per discrete attribute and a double per continuous one (null when all members
            lack it), ``items`` list of string and ``times`` list of int64 (mean time of purchase,
            seconds since the epoch, ascending). A row per prefix that has members, sorted by
            depth and prefix.

    Raises:
        ValueError: when an attribute is called like a column of the result.
        EngineError: when an expression fails on the rows it meets.

    Source: section 4.3.2 and 4.3.3; docs/groups.md.
    """
    schema = prior_schema(sources)
    memberships = engine.materialise(_memberships(members))
    priors = memberships.group_by(_GROUP).aggregate(size=memberships.count())
    for attribute in _attribute_priors(sources, memberships):
        priors = _left_join(priors, attribute)
    bought = engine.materialise(_bought_by_group(sources, memberships, cut))
    priors = _left_join(priors, _sequences(sources, bought, cut, group_len))
    engine.write_parquet(_with_empty_sequences(priors), path, order_by=_GROUP, schema=schema)


def prior_schema(sources: PriorSources) -> pa.Schema:
    """Columns and types of the file that ``write_priors`` writes.

    Args:
        sources: names the attributes.

    Returns:
        The schema.

    Raises:
        ValueError: when an attribute is called like another column.
    """
    for name in sources.discrete + sources.continuous:
        if name in _COLUMNS:
            raise ValueError(
                f"attribute {name!r} is called like a column of the priors; rename it, the names"
                f" {', '.join(_COLUMNS)} are taken"
            )
    fields: list[tuple[str, pa.DataType]] = [
        ("depth", pa.int64()),
        ("prefix", pa.string()),
        ("size", pa.int64()),
    ]
    fields += [(name, pa.string()) for name in sources.discrete]
    fields += [(name, pa.float64()) for name in sources.continuous]
    fields += [("items", pa.list_(pa.string())), ("times", pa.list_(pa.int64()))]
    return pa.schema(fields)


def prefix_depths(codes: NDArray[np.int32], n_min: int, no_group: int) -> NDArray[np.int64]:
    """Depth of the prefix whose prior each user reads.

    Args:
        codes: ``[N, M]`` codes of all users.
        n_min: members that a prefix group needs.
        no_group: the code that means "no group".

    Returns:
        int64 ``[N]``: the deepest prefix with at least ``n_min`` members, 0 = global.

    Source: docs/groups.md.
    """
    depths = np.zeros(len(codes), dtype=np.int64)
    grouped = codes[:, 0] != no_group
    for depth in range(1, codes.shape[1] + 1):
        _, group, sizes = np.unique(
            codes[:, :depth], axis=0, return_inverse=True, return_counts=True
        )
        depths[grouped & (sizes[group.reshape(-1)] >= n_min)] = depth
    return depths


def prefix_names(codes: NDArray[np.int32], depth: int) -> list[str]:
    """Prefixes as priors name them, such as "3.1"; "" at depth 0."""
    return [".".join(map(str, row)) for row in codes[:, :depth].tolist()]


def _memberships(members: Members) -> ibis.Table:
    """A row per user and prefix: user_id, depth, prefix. Everybody belongs to the global one."""
    everybody = np.arange(len(members.codes))
    grouped = np.flatnonzero(members.codes[:, 0] != members.no_group)
    user_ids = np.asarray(members.user_ids, dtype=object)
    parts = []
    for depth in range(members.codes.shape[1] + 1):
        rows = grouped if depth else everybody
        columns = {
            "user_id": pa.array(user_ids[rows], pa.string()),
            "depth": pa.array(np.full(len(rows), depth)),
            "prefix": pa.array(prefix_names(members.codes[rows], depth), pa.string()),
        }
        parts.append(pa.table(columns))
    return ibis.memtable(pa.concat_tables(parts))


def _attribute_priors(sources: PriorSources, memberships: ibis.Table) -> list[ibis.Table]:
    """One table per attribute: depth, prefix and the attribute, where any member has it."""

    def known(name: str) -> ibis.Table:
        values = sources.users.select("user_id", value=sources.users[name])
        joined = memberships.join(values, "user_id")
        return joined.filter(joined.value.notnull())

    modes = [_mode(known(name)).rename({name: "value"}) for name in sources.discrete]
    return modes + [_mean(known(name)).rename({name: "value"}) for name in sources.continuous]


def _mode(known: ibis.Table) -> ibis.Table:
    """The most frequent value; ties go to the smallest."""
    counts = known.group_by([*_GROUP, "value"]).aggregate(count=known.count())
    return _top(counts, _GROUP, [ibis.desc("count"), ibis.asc("value")], 1).drop("count")


def _mean(known: ibis.Table) -> ibis.Table:
    """The mean, summed in fixed point: the order in which threads add would change a double."""
    sums = known.group_by(_GROUP).aggregate(
        total=known.value.cast(_EXACT).sum(), members=known.count()
    )
    return sums.select(*_GROUP, value=sums.total.cast("float64") / sums.members)


def _bought_by_group(sources: PriorSources, memberships: ibis.Table, cut: datetime) -> ibis.Table:
    """A row per prefix and item: its category, buyers, purchases and mean time of purchase.

    Ages in whole seconds before the cut are summed, so that sums are exact in any order.
    """
    by_user = _bought_by_user(sources, cut)
    popularity = by_user.group_by("item_id").aggregate(popularity=by_user.purchases.sum())
    joined = memberships.join(by_user, "user_id")
    by_group = joined.group_by([*_GROUP, "item_id"]).aggregate(
        buyers=joined.count(), purchases=joined.purchases.sum(), age_s=joined.age_s.sum()
    )
    # An item without a category counts as one of the category "".
    leaves = sources.items.select("item_id", leaf=sources.items[sources.leaf].fill_null(""))
    return by_group.join(popularity, "item_id").join(leaves, "item_id")


def _bought_by_user(sources: PriorSources, cut: datetime) -> ibis.Table:
    purchases = sources.purchases
    used = purchases.filter(purchases.time >= sources.history_start, purchases.time < cut)
    age_s = _epoch_s(cut) - used.time.truncate("s").epoch_seconds()
    return used.group_by("user_id", "item_id").aggregate(purchases=used.count(), age_s=age_s.sum())


def _sequences(
    sources: PriorSources, bought: ibis.Table, cut: datetime, group_len: int
) -> ibis.Table:
    """The group behavioural sequence: top categories, their most bought items, in order of time."""
    totals = bought.group_by([*_GROUP, "leaf"]).aggregate(total=bought.purchases.sum())
    order = [ibis.desc("total"), ibis.asc("leaf")]
    categories = _top(totals, _GROUP, order, TOP_CATEGORIES).select(*_GROUP, "leaf")
    candidates = bought.join(categories, [*_GROUP, "leaf"])
    popular = [ibis.desc("popularity"), ibis.asc("item_id")]
    by_buyers = [ibis.desc("buyers"), *popular]
    chosen = _top(candidates, [*_GROUP, "leaf"], by_buyers, ITEMS_PER_CATEGORY)
    kept = _top(chosen, _GROUP, [ibis.desc("purchases"), *popular], group_len)
    timed = kept.mutate(mean_time_s=_epoch_s(cut) - kept.age_s // kept.purchases)
    by_time = [timed.mean_time_s.asc(), timed.item_id.asc()]
    return timed.group_by(_GROUP).aggregate(
        items=timed.item_id.collect(order_by=by_time),
        times=timed.mean_time_s.collect(order_by=by_time),
    )


def _with_empty_sequences(priors: ibis.Table) -> ibis.Table:
    """A group without purchases has an empty sequence, not a missing one."""
    return priors.mutate(
        items=priors["items"].fill_null(ibis.literal([], type="array<string>")),
        times=priors["times"].fill_null(ibis.literal([], type="array<int64>")),
    )


def _epoch_s(moment: datetime) -> int:
    """Seconds since the epoch; canonical times are UTC without a zone."""
    return int(moment.replace(tzinfo=UTC).timestamp())


def _top(
    table: ibis.Table, group_by: Sequence[str], order_by: Sequence[ibis.Value], n: int
) -> ibis.Table:
    """The first n rows of each group in an order."""
    window = ibis.window(group_by=list(group_by), order_by=list(order_by))
    ranked = table.mutate(place=ibis.row_number().over(window))
    return ranked.filter(ranked.place < n).drop("place")


def _left_join(left: ibis.Table, right: ibis.Table) -> ibis.Table:
    # Longer than any column's name, so that no attribute can be called like a key of the right.
    suffix = "_" * max(map(len, (*left.columns, *right.columns)))
    joined = left.left_join(right, _GROUP, rname="{name}" + suffix)
    return joined.drop(*(key + suffix for key in _GROUP))
