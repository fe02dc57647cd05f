"""Split layers and initial values."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from model.baselines.din import Din
from model.losses import LossConfig
from model.network.choirrec import ChoirRec
from model.network.layers import SplitLinear, initialise
from tests.synthetic import TINY, world


@given(parts=st.lists(st.integers(1, 6), min_size=1, max_size=4), out=st.integers(1, 5))
def test_split_layer_equals_the_layer_over_the_concatenation(parts: list[int], out: int) -> None:
    """Not building the concatenation changes nothing, request parts broadcast over candidates."""
    layer = SplitLinear(parts, out)
    initialise(layer, seed=1)
    generator = torch.Generator().manual_seed(2)
    values = [
        torch.randn(3, 1 if n % 2 else 4, width, generator=generator)
        for n, width in enumerate(parts)
    ]
    joined = torch.cat([value.expand(3, 4, -1) for value in values], dim=-1)
    expected = F.linear(joined, layer.weight, layer.bias)
    found = layer(values).expand(3, 4, -1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_models_of_one_seed_share_every_common_initial_value() -> None:
    """DIN and ChoirRec of one seed start byte-equal in tables and individual channel."""
    drawn = world()
    din = Din(drawn.spec, TINY, drawn.lookups, seed=7).state_dict()
    choirrec = ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig(), seed=7).state_dict()
    assert set(din) < set(choirrec)
    for name, value in din.items():
        assert torch.equal(value, choirrec[name]), name


def test_another_seed_gives_other_values_and_padding_stays_zero() -> None:
    """The seed decides the tables; row 0 is zero whatever the seed."""
    drawn = world()
    first, second = (Din(drawn.spec, TINY, drawn.lookups, seed=seed).tables for seed in (1, 2))
    assert not torch.equal(first.item.weight, second.item.weight)
    for table in (first.user, first.item, first.age):
        assert table.weight[0].abs().sum() == 0
