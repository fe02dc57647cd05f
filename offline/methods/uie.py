"""UIE as a method."""

from model.baselines.uie import Uie
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def uie(materials: Materials, config: NetworkConfig) -> Uie:
    """DIN enhanced by centres of users and items."""
    return Uie(
        materials.samples.spec,
        config,
        materials.lookups(),
        materials.seed,
    )
