"""Sizes of the network."""

import pytest

from model.network.config import NetworkConfig, widths
from tests.synthetic import feature_spec


def test_widths_follow_from_fields_and_sizes() -> None:
    """A field more in the spec widens the graphs' inputs by its own row and nothing else."""
    sizes = widths(feature_spec(), NetworkConfig.spec())
    assert sizes.token == 32 + 2 * 16 + 1 * 16
    assert sizes.attributes == 2 * 16 + 2
    assert sizes.user == 32 + sizes.attributes + 2 * 16
    assert (sizes.group_code, sizes.levels, sizes.activity) == (32, 3, 5)


def test_the_demo_is_smaller_in_every_width() -> None:
    """The demo's preset never costs more than the full one."""
    full, demo = NetworkConfig.spec(), NetworkConfig.demo()
    assert widths(feature_spec(), demo).user < widths(feature_spec(), full).user
    assert all(small < large for small, large in zip(demo.tower, full.tower, strict=True))


def test_a_tower_without_a_second_hidden_layer_is_refused() -> None:
    """Injection has nowhere to go in a tower of one hidden layer, and the error says so."""
    with pytest.raises(ValueError, match="at least two hidden layers"):
        NetworkConfig(tower=(64,))
