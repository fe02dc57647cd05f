"""Popularity as a method: the control that needs no model."""

from model.baselines.popularity import Popularity
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def popularity(materials: Materials, config: NetworkConfig) -> Popularity:
    """Items by their purchases before training."""
    return Popularity(materials.samples.item_purchases)
