"""DIN, the base model."""

import numpy as np
import torch

from model.baselines.din import Din
from model.network.config import NetworkConfig
from tests.synthetic import TINY, feature_spec, world


def test_it_reads_the_individual_side_alone() -> None:
    """No group prior reaches DIN, and it has no loss but the prediction's."""
    drawn = world()
    model = Din(drawn.spec, TINY, drawn.lookups, seed=1)
    batch = drawn.split.batch(np.arange(32))
    assert set(model.embed(batch)) == {"user", "history", "history_mask", "candidates"}
    assert model(batch).aux == {}


def test_dense_parameters_at_the_default_sizes() -> None:
    """Attention, then a 256-128-64 tower over user, candidate, pooled and their product."""
    drawn = world(spec=feature_spec(history_len=4))
    model = Din(drawn.spec, NetworkConfig.spec(), drawn.lookups, seed=1)
    token, user = 80, 98
    fields = 1 + 2 + 1
    attention = (4 * token * 64 + fields * 64 + 64) + (64 * 32 + 32) + (32 + 1)
    first = (user + 3 * token) * 256 + fields * 256 + 256
    rest = (256 * 128 + 128) + (128 * 64 + 64) + (64 + 1)
    assert model.dense_parameters() == attention + first + rest


def test_history_order_alone_does_not_matter() -> None:
    """Steps permuted with their ages leave the logit unchanged: ages, not places, tell time."""
    drawn = world()
    model = Din(drawn.spec, TINY, drawn.lookups, seed=1)
    inputs = model.embed(drawn.split.batch(np.arange(32)))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    moved = {**inputs, "history": inputs["history"][:, order]}
    moved["history_mask"] = inputs["history_mask"][:, order]
    torch.testing.assert_close(model.individual(**moved), model.individual(**inputs))
