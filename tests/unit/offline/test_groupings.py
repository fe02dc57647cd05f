"""Groupings: controls change who is in which group, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.codebooks import Codebooks
from offline.groupings import (
    ARCHETYPE_CODES,
    Grouping,
    archetype_codes,
    group_shape,
    permuted,
    save_codes,
)


@given(st.integers(0, 5), st.integers(1, 60))
def test_a_permutation_keeps_the_groups_of_every_level(seed: int, users: int) -> None:
    """Within an activity level the same codes are handed out, and equal seeds do it alike."""
    rng = np.random.default_rng(users)
    codes = rng.integers(0, 4, (users, 3)).astype(np.int32)
    level = rng.integers(1, 6, users).astype(np.int8)
    found = permuted(codes, level, seed)
    for one in range(1, 6):
        assert sorted(found[level == one].tolist()) == sorted(codes[level == one].tolist())
    assert np.array_equal(found, permuted(codes, level, seed))


def test_seeds_permute_differently() -> None:
    """Each model seed has a permutation of its own."""
    codes = np.arange(200, dtype=np.int32)[:, None]
    level = np.ones(200, np.int8)
    first, second = (permuted(codes, level, seed) for seed in (0, 1))
    assert not np.array_equal(first, second)
    assert (first != codes).mean() > 0.9


def test_every_archetype_has_codes_of_its_own() -> None:
    """The 128 archetypes are told apart by three codes."""
    codes = archetype_codes(np.arange(128))
    assert len(np.unique(codes, axis=0)) == 128
    assert codes.max() < ARCHETYPE_CODES


def test_the_shape_of_groups_is_known_with_and_without_codebooks(tmp_path: Path) -> None:
    """Levels and codes come from codebooks, or from what stands beside bare codes."""
    Codebooks(np.zeros((3, 5, 4), np.float32)).save(tmp_path)
    assert group_shape(tmp_path) == (3, 5)
    save_codes(tmp_path, np.zeros((7, 2), np.int32), 9)
    assert group_shape(tmp_path) == (2, 9)


@pytest.mark.parametrize(
    ("grouping", "name"),
    [
        (Grouping(), "profiles"),
        (Grouping("aligned", 8), "aligned_k8"),
        (Grouping(permutation=3), "profiles_permuted"),
    ],
)
def test_results_name_a_grouping(grouping: Grouping, name: str) -> None:
    """The name says how users were grouped and which control it is, not which seed."""
    assert grouping.name == name
