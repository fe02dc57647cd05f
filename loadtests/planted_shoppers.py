"""The planted shoppers: simulated users of known archetypes, the same for every text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from offline.datasets.simulated.bands import open_world
from offline.datasets.simulated.observed import observed
from offline.datasets.simulated.reader import BayesReader
from offline.datasets.simulated.tables import TRUTH
from offline.events import CanonicalTables
from offline.histories import Column, positions

ARCHETYPES = 8
EACH = 10
"""Users drawn of every archetype: a language model on this machine must write them all."""
LEAST_PURCHASES = 3
LEAST_QUERIES = 1
"""A user who may be drawn has at least so many in the year before training starts."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """Some archetypes of a world, and users of theirs by their row in the users table."""

    archetypes: Ints
    """int64 ``[8]``, rising."""
    few: Ints
    """int64 ``[80]``, rising: equally many users of every archetype."""
    all: Ints
    """int64, rising: every eligible user of these archetypes, the few among them."""


def draw(archetype: Ints, eligible: NDArray[np.bool_], seed: int) -> Draw:
    """Draw archetypes evenly among those with enough eligible users, then users of each.

    Args:
        archetype: int64 ``[N]``: of every user.
        eligible: bool ``[N]``: who may be drawn.
        seed: decides the draw.

    Returns:
        The draw; equal arguments give equal draws.

    Raises:
        ValueError: when too few archetypes have enough eligible users.
    """
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(eligible)
    enough = np.flatnonzero(np.bincount(archetype[rows]) >= EACH)
    if len(enough) < ARCHETYPES:
        raise ValueError(
            f"{len(enough)} archetypes have {EACH} eligible users or more, expected {ARCHETYPES}:"
            " simulate more users"
        )
    chosen = np.sort(random.choice(enough, ARCHETYPES, replace=False))
    few = [random.choice(rows[archetype[rows] == one], EACH, replace=False) for one in chosen]
    return Draw(chosen, np.sort(np.concatenate(few)), rows[np.isin(archetype[rows], chosen)])


@dataclass(frozen=True, eq=False)
class Shoppers:
    """All users of a simulated world and what is true of them; arrays are in table order."""

    tables: CanonicalTables
    ids: Sequence[str]
    """N of them."""
    archetype: Ints
    """int64 ``[N]``: the truth."""
    purchases: Ints
    """int64 ``[N]``: before training starts."""
    queries: Ints
    """int64 ``[N]``: before training starts."""
    low_activity: NDArray[np.bool_]
    """bool ``[N]``: as the simulator tells it."""

    @classmethod
    def open(cls, tables: CanonicalTables) -> "Shoppers":
        """Read them from a world's tables and the truth beside them."""
        truth = tables.folder / TRUTH
        ids = tables.users()["user_id"]
        archetypes = pq.read_table(truth / "users.parquet", columns=["archetype"])["archetype"]
        low = pq.read_table(truth / "segments.parquet", columns=["low_activity"])["low_activity"]
        return cls(
            tables=tables,
            ids=[str(user_id) for user_id in ids.to_pylist()],
            archetype=np.asarray(archetypes, np.int64),
            purchases=_counts(tables, "purchases", ids),
            queries=_counts(tables, "searches", ids),
            low_activity=np.asarray(low, np.bool_),
        )

    def draw(self, seed: int) -> Draw:
        """Draw from those of whom a little is known."""
        eligible = (self.purchases >= LEAST_PURCHASES) & (self.queries >= LEAST_QUERIES)
        return draw(self.archetype, eligible, seed)

    def ids_of(self, users: Ints) -> list[str]:
        """Ids of some users by their rows."""
        return [self.ids[user] for user in users]

    def described(self, users: Ints) -> dict[str, float]:
        """Figures about some users: how many, how active, and how many kinds."""
        return {
            "users": len(users),
            "smallest_archetype": int(
                np.unique(self.archetype[users], return_counts=True)[1].min()
            ),
            "median_purchases": float(np.median(self.purchases[users])),
            "median_queries": float(np.median(self.queries[users])),
            "low_activity_share": round(float(self.low_activity[users].mean()), 3),
        }

    @cached_property
    def _reader(self) -> BayesReader:
        return BayesReader.build(open_world(self.tables))

    def bayes_reader(self, users: Ints, archetypes: Ints) -> dict[str, float]:
        """How well the Bayes reader, who knows every archetype, tells those of some users.

        Besides what profiles tell it reads price tier and style of what was bought.

        Args:
            users: int64 ``[n]`` rows of the users table.
            archetypes: int64: those that the users were drawn from.

        Returns:
            Accuracy among all archetypes; accuracy and NMI among the drawn ones, which count as
            equally likely.
        """
        seen = observed(self.tables, pa.array(self.ids_of(users)))
        log = self._reader.log_posterior(seen.attributes, seen.purchases, seen.queries)
        truth = self.archetype[users]
        told = archetypes[(log - self._reader.log_weight)[:, archetypes].argmax(axis=1)]
        return {
            "accuracy_among_all": round(float((log.argmax(axis=1) == truth).mean()), 4),
            "accuracy_among_drawn": round(float((told == truth).mean()), 4),
            "nmi_among_drawn": round(float(normalized_mutual_info_score(truth, told)), 4),
        }


def _counts(tables: CanonicalTables, name: str, ids: Column) -> Ints:
    found = positions(before_training(tables, name)["user_id"], ids)
    return np.bincount(found, minlength=len(ids)).astype(np.int64)


def before_training(tables: CanonicalTables, name: str) -> pa.Table:
    """The rows of ``purchases`` or ``searches`` before training starts, oldest first."""
    start = pa.scalar(tables.schema.split.train_start, pa.timestamp("ms"))
    return ds.dataset(tables.path(name)).to_table(filter=ds.field("time") < start)
