"""Measures: consistency and concentration that chance groups do not have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.group_report.measures import concentration, consistency, occupancy, permuted

numbers = st.integers(-1, 5)
rows = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=80)


@given(rows)
def test_consistency_is_counted_right(users: list[tuple[int, int]]) -> None:
    """On any users: those with their group's most frequent value, of those that have one."""
    group, value = np.array(users, dtype=np.int64).T
    known = [(g, v) for g, v in users if g >= 0 and v >= 0]
    agreeing = sum(
        max(sum(one == (g, v) for one in known) for v in {v for o, v in known if o == g})
        for g in {g for g, _ in known}
    )
    expected = agreeing / len(known) if known else None
    assert consistency(group, value) == (pytest.approx(expected) if known else None)


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 120)), min_size=1, max_size=400))
def test_concentration_is_counted_right(purchases: list[tuple[int, int]]) -> None:
    """On any purchases: the share that falls into the buyer's group's fifty top categories."""
    group, category = np.array(purchases, dtype=np.int64).T
    known = [(g, c) for g, c in purchases if g >= 0 and c >= 0]
    inside = 0
    for owner in {g for g, _ in known}:
        counts = np.bincount([c for g, c in known if g == owner])
        inside += int(np.sort(counts)[::-1][:50].sum())
    expected = pytest.approx(inside / len(known)) if known else None
    assert concentration(group, category) == expected


@given(rows, st.integers(0, 9))
def test_the_control_changes_members_and_nothing_else(
    users: list[tuple[int, int]], seed: int
) -> None:
    """Permuted groups have the same sizes in every activity level, and nobody gains a group."""
    group, level = np.array(users, dtype=np.int64).T
    shuffled = permuted(group, level, seed)
    np.testing.assert_array_equal(shuffled < 0, group < 0)
    for one in np.unique(level):
        inside = level == one
        np.testing.assert_array_equal(np.sort(shuffled[inside]), np.sort(group[inside]))


def test_planted_groups_lie_above_the_control() -> None:
    """Groups that decide an attribute and the purchases stand out; permuted ones do not."""
    random = np.random.default_rng(0)
    group = random.integers(0, 5, 2000)
    level = random.integers(1, 6, 2000)
    value = np.where(random.random(2000) < 0.8, group, random.integers(0, 5, 2000))
    buyer = random.integers(0, 2000, 20_000)
    category = group[buyer] * 60 + random.integers(0, 60, 20_000)
    control = permuted(group, level)
    real, chance = consistency(group, value), consistency(control, value)
    assert real == pytest.approx(0.84, abs=0.03)
    assert chance == pytest.approx(0.23, abs=0.04)
    real, chance = (concentration(g[buyer], category) for g in (group, control))
    assert real is not None
    assert chance is not None
    assert real > 0.8
    assert chance < 0.4


def test_sizes_are_told_by_quantile_and_band() -> None:
    """Groups of 1, 2, 3 and 94 users: each in its band, and six percent below n_min."""
    group = np.repeat([0, 1, 2, 3, -1], [1, 2, 3, 94, 50])
    found = occupancy(group, depth=2, codes_per_level=4, n_min=50)
    assert (found.groups, found.possible) == (4, 16)
    assert found.quantiles[0] == 1
    assert found.quantiles[-1] == 94
    assert found.below_n_min == pytest.approx(0.06)
    assert found.bands == (1, 2, 0, 0, 0, 0, 1)


def test_nothing_known_is_not_a_figure() -> None:
    """Without attributes or purchases there is no share, rather than a zero."""
    nobody, group = np.full(5, -1), np.arange(5)
    assert consistency(group, nobody) is None
    assert concentration(nobody, group) is None
