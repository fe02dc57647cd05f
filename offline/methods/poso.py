"""POSO as a method."""

from model.baselines.poso import Poso
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def poso(materials: Materials, config: NetworkConfig) -> Poso:
    """DIN with gates of activity on its hidden layers."""
    return Poso(materials.samples.spec, config, materials.lookups(), materials.seed)
