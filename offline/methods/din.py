"""DIN, and the controls that part what ChoirRec knows from how it is built."""

from model.baselines.din import Din
from model.baselines.matched_din import MatchedDin
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def din(materials: Materials, config: NetworkConfig) -> Din:
    """The base model."""
    return Din(materials.samples.spec, config, materials.lookups(), materials.seed)


def matched_din(materials: Materials, config: NetworkConfig) -> MatchedDin:
    """DIN with the activity inputs, and the profile vectors where the method needs them."""
    return MatchedDin(
        materials.samples.spec,
        config,
        materials.lookups(),
        materials.seed,
        materials.user_vectors,
    )
