"""Statistics: intervals hold the truth, share their draws, and name what could have been seen."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline.evidence.statistics import (
    World,
    bootstrap,
    combine,
    difference,
    holm,
    holm_adjusted,
    interval,
    relative,
    slope,
)

Doubles = NDArray[np.float64]


def draw_world(
    random: np.random.Generator,
    gain: float = 0.0,
    seeds: int = 5,
    users: int = 60,
    between: float = 0.0,
    by_seed: float = 0.0,
    by_user: float = 0.03,
) -> World:
    """Two methods, the first better by ``gain``, which varies by world, seed and user."""
    noise = random.normal(0, between) + random.normal(0, by_seed, (seeds, 1))
    noise = noise + random.normal(0, by_user, (1, users))
    second = np.clip(random.normal(0.7, 0.05, (1, users)), 0, 1) + np.zeros((seeds, 1))
    return World(
        np.stack([second + gain + noise, second]), random.integers(1, 9, users).astype(np.float64)
    )


def covered(trials: int, worlds: int, between: float, by_seed: float, by_user: float) -> float:
    """Share of simulated trials whose interval holds the true difference of 0.01."""
    random = np.random.default_rng(11)
    hits = 0
    for trial in range(trials):
        drawn = [
            draw_world(random, 0.01, between=between, by_seed=by_seed, by_user=by_user)
            for _ in range(worlds)
        ]
        found = interval(difference(*bootstrap(drawn, replicates=200, seed=trial)))
        hits += found.low <= 0.01 <= found.high
    return hits / trials


@pytest.mark.parametrize(
    ("worlds", "between", "by_seed", "by_user"),
    [(1, 0, 0.0045, 0.02), (1, 0, 0.001, 0.05), (5, 0.006, 0.003, 0.03)],
)
def test_intervals_hold_the_truth_in_about_95_percent(
    worlds: int, between: float, by_seed: float, by_user: float
) -> None:
    """Whichever level the noise comes from, an interval misses about one time in twenty."""
    assert 0.91 <= covered(200, worlds, between, by_seed, by_user) <= 0.99


def test_more_levels_of_noise_are_never_told_as_less() -> None:
    """Worlds and seeds that differ make the interval wider than users alone would."""
    random = np.random.default_rng(3)
    calm = [draw_world(random, 0.01) for _ in range(5)]
    stormy = [
        World(np.stack([w.auc[0] + shift, w.auc[1]]), w.weights)
        for w, shift in zip(calm, (-0.02, -0.01, 0.0, 0.01, 0.02), strict=True)
    ]
    first, second = (interval(difference(*bootstrap(worlds))) for worlds in (calm, stormy))
    assert second.error > 2 * first.error
    assert math.isclose(first.value, second.value)


def test_a_method_beside_itself_is_exactly_nothing() -> None:
    """Equal methods differ by 0, with an interval of no width that contains 0, and p = 1."""
    world = draw_world(np.random.default_rng(1))
    one, _ = bootstrap([world])
    for figure in (difference(one, one), relative(one, one)):
        found = interval(figure)
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
        assert found.contains_zero


def test_no_effect_is_found_to_contain_zero() -> None:
    """Two methods that differ by noise alone are told apart in few of 40 trials."""
    random = np.random.default_rng(5)
    trials = [bootstrap([draw_world(random)], replicates=200) for _ in range(40)]
    assert sum(not interval(difference(*pair)).contains_zero for pair in trials) <= 5


def test_point_estimates_are_means_of_means() -> None:
    """GAUC is the mean over worlds of the mean over seeds of the weighted mean over users."""
    random = np.random.default_rng(2)
    worlds = [
        World(random.random((3, seeds, users)), random.integers(1, 5, users).astype(np.float64))
        for seeds, users in ((2, 7), (4, 11))
    ]
    for method, found in enumerate(bootstrap(worlds, replicates=10)):
        by_hand = [
            np.mean([np.average(row, weights=world.weights) for row in world.auc[method]])
            for world in worlds
        ]
        assert math.isclose(found.value, float(np.mean(by_hand)), rel_tol=1e-12)
        assert [len(cell) for cell in found.cells] == [2, 4]


def test_users_without_a_pair_do_not_count() -> None:
    """A user of one class changes neither figure nor replicates, whatever its weight."""
    world = draw_world(np.random.default_rng(4), users=20)
    empty = world.auc.copy()
    empty[:, :, 3] = np.nan
    without = World(empty, world.weights)
    light = World(world.auc, world.weights * (np.arange(20) != 3))
    for found, expected in zip(bootstrap([without]), bootstrap([light]), strict=True):
        assert math.isclose(found.value, expected.value)
        np.testing.assert_allclose(found.drawn, expected.drawn, rtol=1e-12)


@given(order=st.permutations(range(12)), places=st.permutations(range(3)))
def test_figures_do_not_depend_on_the_order_of_users_or_worlds(
    order: list[int], places: list[int]
) -> None:
    """Reordering what is measured changes no figure."""
    random = np.random.default_rng(8)
    worlds = [draw_world(random, 0.01, users=12) for _ in range(3)]
    moved = [World(worlds[p].auc[:, :, order], worlds[p].weights[order]) for p in places]
    for found, expected in zip(bootstrap(moved, 5), bootstrap(worlds, 5), strict=True):
        assert math.isclose(found.value, expected.value, rel_tol=1e-12)


def test_a_further_method_leaves_the_others_as_they_were() -> None:
    """Draws are common: a row added to a table changes no other row's interval."""
    world = draw_world(np.random.default_rng(6), 0.01)
    wider = World(np.concatenate([world.auc, world.auc[:1] * 0.9]), world.weights)
    pair, first_two = bootstrap([world]), bootstrap([wider])[:2]
    for one, same in zip(pair, first_two, strict=True):
        np.testing.assert_allclose(one.drawn, same.drawn, rtol=1e-12)


def test_relative_gains_are_ratios() -> None:
    """A model better by a tenth gains 10 %, in the figure and in every replicate."""
    world = draw_world(np.random.default_rng(7))
    scaled = World(np.stack([1.1 * world.auc[1], world.auc[1]]), world.weights)
    gain = relative(*bootstrap([scaled]))
    assert math.isclose(gain.value, 0.1)
    np.testing.assert_allclose(gain.drawn, 0.1)


def test_the_slope_is_that_of_the_least_squares_line() -> None:
    """A gain that falls by 0.002 a level has that slope, and parts of one draw combine."""
    random = np.random.default_rng(9)
    users, gains = 500, (0.01, 0.008, 0.006, 0.004, 0.002)
    level = random.integers(5, size=users)
    second = random.normal(0.7, 0.05, (5, users))
    first = second + np.array(gains)[level] + random.normal(0, 0.01, (1, users))
    levels = [
        difference(*bootstrap([World(np.stack([first, second]), (level == number) + 0.0)]))
        for number in range(5)
    ]
    found = interval(slope(levels))
    fitted = np.polyfit(range(5), [one.value for one in levels], 1)[0]
    assert math.isclose(found.value, fitted, rel_tol=1e-9)
    assert found.low < -0.002 < found.high < 0


def test_holm_equals_a_worked_example() -> None:
    """Adjusted p values are those of the textbook steps, and never fall along the order."""
    found = holm_adjusted(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted(np.array([0.9, math.nan, 0.001])).tolist() == [1.0, 1.0, 0.003]


@given(effects=st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=6))
def test_corrected_intervals_and_corrected_p_values_agree(effects: list[float]) -> None:
    """A row of a table leaves 0 out exactly when its adjusted p is below 5 %."""
    random = np.random.default_rng(10)
    base = random.normal(0.7, 0.05, (5, 40))
    noise = random.normal(0, 0.03, (1, 40))
    aucs = np.stack([base, *(base + effect + noise for effect in effects)])
    second, *rest = bootstrap([World(aucs, np.ones(40))], replicates=100)
    rows = [difference(one, second) for one in rest]
    for row, corrected in zip(rows, holm(rows), strict=True):
        alone = interval(row)
        assert corrected.contains_zero == (corrected.p >= 0.05)
        assert corrected.low <= alone.low
        assert corrected.high >= alone.high
        assert corrected.p >= alone.p


def test_the_detectable_effect_is_found_four_times_in_five() -> None:
    """Trials of the size that is said to be detectable find an effect in about 80 %."""
    random = np.random.default_rng(12)
    plain = [bootstrap([draw_world(random)], replicates=200) for _ in range(20)]
    size = float(np.mean([interval(difference(*pair)).detectable for pair in plain]))
    trials = [bootstrap([draw_world(random, size)], replicates=100) for _ in range(150)]
    found = np.mean([interval(difference(*pair)).low > 0 for pair in trials])
    assert 0.7 <= found <= 0.92


def test_one_cell_alone_has_no_interval() -> None:
    """Where no world, seed or user can vary, no interval is made up."""
    found = interval(difference(*bootstrap([World(np.array([[[0.8]], [[0.7]]]), np.ones(1))])))
    assert math.isnan(found.low)
    assert math.isnan(found.p)
    assert found.contains_zero


def test_single_figures_by_seed_are_compared_by_the_same_code() -> None:
    """An AUC over all rows has one value per seed: the interval is about Student's."""
    values = np.array([0.02, 0.01, 0.015, 0.012, 0.018])
    pair = np.stack([0.7 + values, np.full(5, 0.7)])[:, :, None]
    found = interval(difference(*bootstrap([World(pair, np.ones(1))])))
    half = 2.776 * values.std(ddof=1) / math.sqrt(5)
    assert math.isclose(found.value, values.mean())
    assert 0.9 * half <= found.high - found.value <= 1.2 * half


def test_a_replicate_repeats_by_its_seed() -> None:
    """The same seed gives the same interval, another one nearly the same."""
    world = draw_world(np.random.default_rng(13), 0.01)
    one, again, other = (interval(difference(*bootstrap([world], seed=seed))) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert math.isclose(one.error, other.error, rel_tol=0.1)


def test_a_table_of_full_size_takes_seconds() -> None:
    """2,000 replicates of 5 worlds, 5 seeds, 6,000 users and 12 methods need under a minute."""
    random = np.random.default_rng(14)
    worlds = [World(random.random((12, 5, 6000)), np.full(6000, 16.0)) for _ in range(5)]
    began = time.process_time()
    bootstrap(worlds)
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("auc", "weights", "message"),
    [
        (np.zeros((2, 1, 3)), np.ones(4), "expected"),
        (np.zeros((2, 1, 3)), np.array([1.0, -1, 1]), "negative"),
        (np.full((2, 1, 3), np.nan), np.ones(3), "pair"),
        (np.array([[[math.nan, 0.5]], [[0.5, 0.5]]]), np.ones(2), "same rows"),
    ],
)
def test_tables_that_do_not_fit_are_refused(auc: Doubles, weights: Doubles, message: str) -> None:
    """Methods measured on other rows, or on nobody, are an error and not a figure."""
    with pytest.raises(ValueError, match=message):
        bootstrap([World(auc, weights)])


def test_worlds_without_a_common_table_are_refused() -> None:
    """No world, or worlds of other methods, cannot make a figure."""
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([])
    two, three = (World(np.zeros((methods, 1, 3)), np.ones(3)) for methods in (2, 3))
    with pytest.raises(ValueError, match="methods"):
        bootstrap([two, three])


def test_figures_combine_element_by_element() -> None:
    """Any arithmetic of figures holds for their replicates and cells alike."""
    one, two = bootstrap([draw_world(np.random.default_rng(15), 0.02)])
    found = combine(lambda a, b: 2 * a - b, one, two)
    assert math.isclose(found.value, 2 * one.value - two.value)
    np.testing.assert_allclose(found.drawn, 2 * one.drawn - two.drawn)
    np.testing.assert_allclose(found.cells[0], 2 * one.cells[0] - two.cells[0])
