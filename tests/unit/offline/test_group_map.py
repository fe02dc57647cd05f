"""Group maps: who moved, whatever the codes are called."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from model.codebooks import Codebooks
from model.residuals import ResidualReference
from offline.group_map import adjusted_rand_index, compare, map_groups, number_groups, told
from offline.grouped import GroupedUsers

labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)


def grouping(codes: list[list[int]], keys: list[int], seed: int = 0) -> GroupedUsers:
    """Users by key and code; codebooks of five codes that depend on the seed."""
    array = np.array(codes, dtype=np.int32)
    random = np.random.default_rng(seed)
    centroids = random.normal(size=(array.shape[1], 5, 3)).astype(np.float32)
    norms = random.random(array.shape).astype(np.float32)
    return GroupedUsers(
        keys=np.array(keys, dtype=np.uint64),
        codes=array,
        norms=norms,
        codebooks=Codebooks(centroids),
        reference=ResidualReference.of(norms),
    )


@given(labels.flatmap(lambda one: st.tuples(st.just(one), st.permutations(one))))
def test_the_index_is_scikit_learns(pair: tuple[list[int], list[int]]) -> None:
    """The adjusted Rand index agrees with the field's own on any two divisions."""
    before, after = (np.array(one, dtype=np.int64) for one in pair)
    expected = adjusted_rand_score(before, after)
    assert adjusted_rand_index(before, after) == pytest.approx(expected, abs=1e-12)


@given(labels, st.permutations(range(5)))
def test_names_of_codes_do_not_count(users: list[int], names: list[int]) -> None:
    """Groups that were merely renumbered have not moved: index 1, nobody moved, all mapped."""
    old = np.array(users, dtype=np.int32)[:, None]
    new = np.array(names, dtype=np.int32)[old]
    found = map_groups(old, new, same_codebooks=False)
    assert found.moved == pytest.approx(0)
    assert found.adjusted_rand_index == pytest.approx(1)
    assert all(move.successor == (names[move.group[0]],) for move in found.groups)


def test_a_map_says_where_most_users_went() -> None:
    """A group that split is mapped to its larger part, and the smaller part has moved."""
    old = np.array([[0]] * 10 + [[1]] * 4, dtype=np.int32)
    new = np.array([[2]] * 7 + [[3]] * 3 + [[3]] * 4, dtype=np.int32)
    found = map_groups(old, new, same_codebooks=False)
    assert [(move.group, move.users, move.successor) for move in found.groups] == [
        ((0,), 10, (2,)),
        ((1,), 4, (3,)),
    ]
    assert [move.stayed for move in found.groups] == [0.7, 1.0]
    assert found.moved == pytest.approx(3 / 14)


def test_under_the_same_codebooks_a_group_is_its_own_successor() -> None:
    """From cut to cut codes mean the same: whoever has another code has moved."""
    old = np.array([[0, 1]] * 5, dtype=np.int32)
    new = np.array([[0, 1]] * 2 + [[0, 2]] * 3, dtype=np.int32)
    (move,) = map_groups(old, new, same_codebooks=True).groups
    assert move.successor == (0, 1)
    assert move.stayed == 0.4


def test_users_are_matched_by_key() -> None:
    """Order, newcomers and users that lost their group change no figure of the others."""
    old = grouping([[0, 0], [0, 1], [1, 1], [5, 5]], [10, 11, 12, 13])
    new = grouping([[1, 1], [0, 1], [0, 0], [0, 0], [5, 5]], [12, 11, 10, 99, 98])
    found = compare(old, new)
    assert found.same_codebooks
    assert (found.left, found.joined) == (0, 1)
    assert [one.users for one in found.maps] == [3, 3]
    assert [one.moved for one in found.maps] == [0, 0]


def test_a_comparison_is_told_in_lines() -> None:
    """The command line says users, moves and index per depth, then a line per level-1 group."""
    old = grouping([[0, 0], [0, 1], [1, 1]], [1, 2, 3])
    new = grouping([[3, 0], [3, 1], [4, 1]], [1, 2, 3], seed=1)
    lines = told(compare(old, new))
    assert lines[0].startswith("3 users have a group in both, by codebooks fitted apart")
    assert lines[1] == "depth 1: 0.0% moved, adjusted Rand index 1.000"
    assert [line.split() for line in lines[-2:]] == [
        ["0", "2", "3", "100.0%"],
        ["1", "1", "4", "100.0%"],
    ]


def test_groupings_that_cannot_be_compared_are_refused() -> None:
    """Other users and other depths are named instead of compared."""
    with pytest.raises(ValueError, match="no user has a group in both"):
        compare(grouping([[0, 0]], [1]), grouping([[0, 0]], [2]))
    with pytest.raises(ValueError, match="2 levels against 1"):
        compare(grouping([[0, 0]], [1]), grouping([[0]], [1]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_numbers_stand_for_groups(codes: list[tuple[int, int]]) -> None:
    """Two users have one number exactly if they have one group."""
    array: NDArray[np.int32] = np.array(codes, dtype=np.int32)
    names, numbers = number_groups(array)
    np.testing.assert_array_equal(names[numbers], array)
    assert len(np.unique(names, axis=0)) == len(names)
