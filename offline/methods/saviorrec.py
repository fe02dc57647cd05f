"""SaviorRec as a method."""

from model.baselines.saviorrec import SaviorRec
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def saviorrec(materials: Materials, config: NetworkConfig) -> SaviorRec:
    """DIN that also reads what items say of themselves."""
    items = materials.given(materials.encoded_items, "encoded items")
    return SaviorRec(
        materials.samples.spec,
        config,
        materials.lookups(),
        items.vectors,
        items.codes,
        materials.seed,
    )
