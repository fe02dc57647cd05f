"""Cold-Transformer as a method."""

from model.baselines.cold_transformer import ColdTransformer
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def cold_transformer(materials: Materials, config: NetworkConfig) -> ColdTransformer:
    """DIN whose user rows are adapted by earlier clicks and what came of them."""
    return ColdTransformer(materials.samples.spec, config, materials.lookups(), materials.seed)
