"""Models of one size."""

from itertools import pairwise

import pytest

from model.baselines.size_match import dense_parameters, matched_size, size_table
from model.network.config import NetworkConfig
from tests.baselines import MODELS, makers
from tests.synthetic import TINY, world


def test_counting_needs_no_memory_and_is_exact() -> None:
    """The count without memory is the model's own."""
    drawn = world()
    for name, make in makers(drawn).items():
        assert dense_parameters(make, TINY) == MODELS[name](drawn, TINY, 1).dense_parameters()


def test_every_model_matches_choirrec_at_the_default_sizes() -> None:
    """Matched towers keep their ratios and come within half a per cent of ChoirRec's size."""
    rows = size_table(makers(world()), NetworkConfig.spec(), "choirrec")
    assert [row.model for row in rows] == list(MODELS)
    reference = rows[0]
    assert (reference.tower, reference.matched) == ((256, 128, 64), reference.designed)
    for row in rows:
        assert row.matched == pytest.approx(reference.designed, rel=0.005)
        assert all(
            wide / narrow == pytest.approx(2, rel=0.02) for wide, narrow in pairwise(row.tower)
        )


def test_no_other_tower_of_these_ratios_comes_nearer() -> None:
    """One unit wider or narrower is further from the number asked for."""
    make = makers(world())["din"]
    asked = 40_000
    found = matched_size(make, NetworkConfig.demo(), asked).tower[0]
    distance = {
        first: abs(dense_parameters(make, matched_of(first)) - asked)
        for first in (found - 1, found, found + 1)
    }
    assert min(distance, key=distance.__getitem__) == found


def matched_of(first: int) -> NetworkConfig:
    """The small sizes with a tower of 4 : 2 : 1."""
    return NetworkConfig(
        **{**vars(NetworkConfig.demo()), "tower": (first, round(first / 2), round(first / 4))}
    )


def test_a_size_out_of_reach_is_refused() -> None:
    """When all that lies beside the tower is larger already, the nearest is not called equal."""
    with pytest.raises(ValueError, match="no tower gives about 10 "):
        matched_size(makers(world())["din"], TINY, 10)
