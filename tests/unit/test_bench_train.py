"""What the measurement of training says of its rounds."""

import numpy as np
import pytest

from loadtests.bench_train import figures
from loadtests.training_rows import STEPS, feature_spec, rows
from model.network.config import NetworkConfig, widths


def test_a_figure_is_the_median_of_ratios_within_a_round() -> None:
    """A machine that is twice as busy in one round moves no ratio."""
    quiet = {
        "din": 1.0,
        "choirrec": 1.5,
        "fuxictr_din": 2.0,
        "din_contexts": 0.5,
        "choirrec_contexts": 0.9,
        "gather": 0.01,
    }
    busy = {name: 2 * seconds for name, seconds in quiet.items()}
    found = figures([quiet, busy, quiet])
    assert found["cost_ratio"] == pytest.approx(1.5)
    assert found["cost_ratio_contexts"] == pytest.approx(1.8)
    assert found["vs_fuxictr_din"] == pytest.approx(2.0)
    assert found["loader_ratio"] == pytest.approx(100)


def test_every_sequence_is_full_and_sizes_are_the_documented_ones() -> None:
    """What is measured has fixed lengths: a token of 64, a user of 144, 50 steps."""
    _, split = rows(contexts=10, candidates=3, seed=0)
    sizes = widths(feature_spec(), NetworkConfig.spec())
    assert (sizes.token, sizes.user) == (64, 144)
    assert split.users.history_items.shape == (10, STEPS)
    assert (split.users.history_items > 0).all()
    assert (split.groups.items > 0).all()
    assert np.bincount(split.row_context).tolist() == [3] * 10
