"""MELT as a method."""

from model.baselines.melt import Melt
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def melt(materials: Materials, config: NetworkConfig) -> Melt:
    """DIN with a user vector, tail users and items helped by head ones."""
    return Melt(
        materials.samples.spec,
        config,
        materials.lookups(),
        materials.given(materials.contexts, "item contexts"),
        materials.seed,
    )
