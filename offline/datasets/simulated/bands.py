"""The bands: what a simulated data set must look like, committed before any model was trained."""

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from offline.datasets.simulated.observed import observed
from offline.datasets.simulated.reader import BayesReader, right
from offline.datasets.simulated.tables import TRUTH, WORLD_FILE
from offline.datasets.simulated.world import World, make_world
from offline.events import CanonicalTables
from offline.soft_labels import soft_gauc

BANDS: Final = {
    "top_click_share": (0.89, 0.91),
    "low_purchases": (0.18, 0.21),
    "low_attributes": (0.64, 0.68),
    "conversion": (0.034, 0.036),
    "quality_gauc": (0.66, 0.69),
    "archetype_gauc": (0.80, 0.82),
    "truth_gauc": (0.86, 0.88),
    "reader_accuracy": (0.42, 0.50),
}
"""Least and most of each figure on a world of 30,000 users, archetypes with effect."""


@dataclass(frozen=True)
class Figures:
    """The figures of one data set, named as their bands."""

    top_click_share: float
    """Share of all clicks that the most active 18 % of the users make."""
    low_purchases: float
    """Mean purchases of low-activity users, history and conversions, over the mean of all."""
    low_attributes: float
    """Mean attributes known of low-activity users over the mean of all."""
    conversion: float
    """Share of clicks that end in a purchase."""
    quality_gauc: float
    """Soft-label GAUC of low-activity users on the panel by the items' quality alone."""
    archetype_gauc: float
    """The same by quality and the match with the user's archetype."""
    truth_gauc: float
    """The same by the true probabilities: no score can be better."""
    reader_accuracy: float
    """Low-activity users of the panel whose archetype the Bayes reader tells."""

    def outside(self) -> dict[str, float]:
        """The figures that are not within their band."""
        values = {name: float(getattr(self, name)) for name in BANDS}
        return {
            name: value
            for name, value in values.items()
            if not BANDS[name][0] <= value <= BANDS[name][1]
        }


def measure(tables: CanonicalTables) -> Figures:
    """Measure a simulated data set.

    Args:
        tables: as ``simulator.build`` wrote them, ``truth/`` beside them.

    Returns:
        The figures.

    Source: docs/simulator.md.
    """
    world = open_world(tables)
    segments = pq.read_table(tables.folder / TRUTH / "segments.parquet")
    panel = pq.read_table(tables.folder / TRUTH / "panel.parquet")
    low_ids = segments.filter(segments["low_activity"])["user_id"]
    low_panel = panel.take(np.flatnonzero(np.isin(panel["user_id"].to_numpy(), low_ids.to_numpy())))
    low_users = low_panel["user_id"].combine_chunks().unique()
    return Figures(
        **_activity_figures(segments, world),
        **_ceilings(low_panel),
        reader_accuracy=_reader_accuracy(tables, world, low_users),
    )


def open_world(tables: CanonicalTables) -> World:
    """The world that simulated tables come from."""
    values = json.loads((tables.folder / TRUTH / WORLD_FILE).read_text())
    return make_world(values["world"], values["items"], values["null"])


def _activity_figures(segments: pa.Table, world: World) -> dict[str, float]:
    low = np.asarray(segments["low_activity"])
    clicks, conversions, purchases, attributes = (
        np.asarray(segments[name], np.float64)
        for name in ("clicks", "conversions", "purchases", "attributes")
    )
    top = np.sort(clicks)[::-1][: round(len(clicks) * world.constants.top_users)]
    bought = purchases + conversions
    return {
        "top_click_share": float(top.sum() / clicks.sum()),
        "low_purchases": float(bought[low].mean() / bought.mean()),
        "low_attributes": float(attributes[low].mean() / attributes.mean()),
        "conversion": float(conversions.sum() / clicks.sum()),
    }


def _ceilings(panel: pa.Table) -> dict[str, float]:
    user = np.asarray(panel["user_id"].combine_chunks().dictionary_encode().indices, np.int64)
    probability = np.asarray(panel["probability"])
    scores = {
        "quality_gauc": panel["quality"],
        "archetype_gauc": panel["archetype_appeal"],
        "truth_gauc": panel["probability"],
    }
    return {name: soft_gauc(np.asarray(score), probability, user) for name, score in scores.items()}


def _reader_accuracy(tables: CanonicalTables, world: World, user_ids: "pa.Array[Any]") -> float:
    seen = observed(tables, user_ids)
    reader = BayesReader.build(world)
    posterior = reader.log_posterior(seen.attributes, seen.purchases, seen.queries)
    truth = pq.read_table(tables.folder / TRUTH / "users.parquet", columns=["user_id", "archetype"])
    places = {user_id: place for place, user_id in enumerate(truth["user_id"].to_pylist())}
    rows = np.array([places[user_id] for user_id in user_ids.to_pylist()])
    return float(right(posterior, np.asarray(truth["archetype"])[rows].astype(np.int32)).mean())
