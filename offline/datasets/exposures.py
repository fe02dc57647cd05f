"""Exposures: products on show in a basket's store and week, bought or not."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis
import pyarrow as pa

from offline.engine import Engine
from offline.progress import track

LEFT_OUT_DEPARTMENTS = ("FUEL", "MISCELLANEOUS", "COUPON")
HISTORY_WEEKS = 4
MIN_HOUSEHOLDS = 5
MAX_NEGATIVES = 4
MIN_NEGATIVES = 2

_ROW_SCHEMA = pa.schema(
    [
        ("household_id", pa.int64()),
        ("basket_id", pa.int64()),
        ("product_id", pa.int64()),
        ("time", pa.timestamp("ms")),
        ("label", pa.int8()),
    ]
)


@dataclass(frozen=True)
class Window:
    """Weeks of a protocol: training, validation, test; each runs to the next one's start."""

    train: int
    validation: int
    test: int
    end: int
    """First week after the test."""

    @property
    def history(self) -> int:
        """First week that any model may know."""
        return self.train - HISTORY_WEEKS


@dataclass(frozen=True)
class Panel:
    """The package's files as tables, and the window to be read."""

    transactions: ibis.Table
    promotions: ibis.Table
    products: ibis.Table
    demographics: ibis.Table
    window: Window


def between(rows: ibis.Table, first: int, end: int) -> ibis.Table:
    """Rows of the weeks from ``first`` up to but without ``end``."""
    return rows.filter((rows["week"] >= first) & (rows["week"] < end))


def exposures(engine: Engine, panel: Panel, households: ibis.Table) -> Iterator[pa.Table]:
    """Sample the exposures of every week from training to the end of the test.

    Args:
        engine: runs the expressions.
        panel: the package's files and the window.
        households: column ``household_id``: whose baskets become rows. Popularity counts all.

    Yields:
        Per week a table of household_id, basket_id, product_id (int64), time (ms) and label
        (int8), in no order to rely on. Source: docs/evaluation.md.
    """
    weeks = range(panel.window.train, panel.window.end)
    for week in track(weeks, "exposures by week", total=len(weeks)):
        yield _sampled(engine.arrow(_pairs(panel, households, week)))


def _popularity(panel: Panel, week: int) -> ibis.Table:
    """Bucket of each product that enough households bought in the weeks before this one."""
    department = panel.products["department"]
    allowed = panel.products.filter(
        department.notnull() & ~department.isin(LEFT_OUT_DEPARTMENTS)
    ).select("product_id")
    before = between(panel.transactions, week - HISTORY_WEEKS, week)
    before = before.semi_join(allowed, "product_id")
    counts = before.group_by("product_id").aggregate(n=before["household_id"].nunique())
    popular = counts.filter(counts["n"] >= MIN_HOUSEHOLDS)
    bucket = (popular["n"].log2() * 2).floor().cast("int64")
    return popular.select("product_id", bucket=bucket)


def _pairs(panel: Panel, households: ibis.Table, week: int) -> ibis.Table:
    """Candidate negatives of each positive of a week, the lowest hashes of each.

    Other positives of the same basket and bucket can take 4 candidates each, so that the first
    4 x (positives of the bucket) hashes of a positive hold all it can ever get.
    """
    promoted = between(panel.promotions, week, week + 1).select("store_id", "product_id")
    shown = promoted.distinct().inner_join(_popularity(panel, week), "product_id")
    lines = between(panel.transactions, week, week + 1).semi_join(households, "household_id")
    baskets = lines.select(
        "household_id", "basket_id", "store_id", "product_id", time="transaction_timestamp"
    ).distinct()
    positives = baskets.inner_join(shown, ["store_id", "product_id"])
    rivals = positives.count().over(group_by=["basket_id", "bucket"])
    offered = shown.rename(candidate_id="product_id")
    pairs = positives.mutate(rivals=rivals).inner_join(offered, ["store_id", "bucket"])
    in_basket = baskets.select("basket_id", candidate_id="product_id")
    pairs = pairs.anti_join(in_basket, ["basket_id", "candidate_id"])
    pairs = pairs.mutate(hash=_pair_hash(pairs))
    place = ibis.row_number().over(group_by=["basket_id", "product_id"], order_by="hash")
    near = pairs.mutate(place=place).filter(ibis._.place < MAX_NEGATIVES * ibis._.rivals)
    wanted = ["basket_id", "hash", "household_id", "product_id", "candidate_id", "time"]
    return near.select(*wanted).order_by(["basket_id", "hash"])


def _pair_hash(pairs: ibis.Table) -> ibis.Value:
    names = ("household_id", "basket_id", "product_id", "candidate_id")
    return ibis.literal("|").join([pairs[name].cast("string") for name in names]).hexdigest()


def _sampled(pairs: pa.Table) -> pa.Table:
    """Rows of a week: positives with their negatives.

    The pairs of a basket are taken in ascending order of their hash; a pair counts when its
    candidate is still free and its positive has fewer than 4 negatives. Then positives with
    fewer than 2 negatives are dropped.
    """
    columns = ("basket_id", "product_id", "candidate_id")
    ids: list[list[Any]] = [pairs[name].to_pylist() for name in columns]
    baskets, positives, candidates = ids
    taken: set[tuple[int, int]] = set()
    negatives: Counter[tuple[int, int]] = Counter()
    chosen: list[int] = []
    for place, basket in enumerate(baskets):
        positive, free = (basket, positives[place]), (basket, candidates[place])
        if free not in taken and negatives[positive] < MAX_NEGATIVES:
            taken.add(free)
            negatives[positive] += 1
            chosen.append(place)
    enough = [n for n in chosen if negatives[baskets[n], positives[n]] >= MIN_NEGATIVES]
    firsts = list({(baskets[n], positives[n]): n for n in enough}.values())
    rows = pairs.take(pa.array(firsts + enough, pa.int64()))
    shown = rows["product_id"].slice(0, len(firsts)).to_pylist()
    shown += rows["candidate_id"].slice(len(firsts)).to_pylist()
    label = [1] * len(firsts) + [0] * len(enough)
    values: list[Any] = [rows["household_id"], rows["basket_id"], shown, rows["time"], label]
    return pa.table(values, names=_ROW_SCHEMA.names).cast(_ROW_SCHEMA)
