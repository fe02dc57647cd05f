"""Measures of groups: how large they are, and how alike their members."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP_CATEGORIES = 50
"""Fine-grained categories per group whose share of purchases is told (section 5.5)."""
OCCUPANCY_SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Occupancy:
    """Sizes of the groups of one depth."""

    depth: int
    groups: int
    """Groups that have users."""
    possible: int
    """k to the power of the depth."""
    quantiles: tuple[int, ...]
    """Users per group: smallest, 5, 25, 50, 75 and 95 %, largest; of groups that have users."""
    below_n_min: float
    """Share of the users with a group whose group is smaller than n_min."""
    bands: tuple[int, ...]
    """Groups of 1, 2-3, 4-7, 8-15, ... users."""


def occupancy(group: Ints, depth: int, codes_per_level: int, n_min: int) -> Occupancy:
    """Measure the sizes of the groups of one depth.

    Args:
        group: int64 ``[N]``: number of each user's group, -1 = none; at least one has a group.
        depth: levels of the groups.
        codes_per_level: codes k.
        n_min: members that a prefix group needs to serve.

    Returns:
        The sizes.
    """
    sizes = np.bincount(group[group >= 0])
    sizes = sizes[sizes > 0]
    quantiles = np.quantile(sizes, OCCUPANCY_SHARES, method="lower")
    return Occupancy(
        depth=depth,
        groups=len(sizes),
        possible=codes_per_level**depth,
        quantiles=tuple(int(size) for size in quantiles),
        below_n_min=float(sizes[sizes < n_min].sum() / sizes.sum()),
        bands=tuple(int(n) for n in np.bincount(np.log2(sizes).astype(np.int64))),
    )


def consistency(group: Ints, values: Ints) -> float | None:
    """How alike the members of a group are in one attribute.

    Args:
        group: int64 ``[N]``: group numbers, -1 = none.
        values: int64 ``[N]``: values' numbers, -1 = missing.

    Returns:
        The share of the users with a group and a value who have their group's most frequent
        value; None when there are none.

    Source: section 5.5, "attribute consistency".
    """
    rows = (group >= 0) & (values >= 0)
    if not rows.any():
        return None
    owners, _, counts = _pair_counts(group[rows], values[rows])
    return float(np.sum(_largest(owners, counts)) / rows.sum())


def concentration(group: Ints, category: Ints) -> float | None:
    """How much of a group's purchases its own favourite categories take.

    Args:
        group: int64 ``[P]``: per purchase the buyer's group, -1 = none.
        category: int64 ``[P]``: per purchase the item's finest category, -1 = none.

    Returns:
        The share of all purchases by users with a group that falls into their own group's 50 most
        bought categories; None when there are none.

    Source: section 5.5, "behavioral concentration".
    """
    rows = (group >= 0) & (category >= 0)
    if not rows.any():
        return None
    owners, _, counts = _pair_counts(group[rows], category[rows])
    order = np.lexsort((-counts, owners))
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return float(counts[order][rank < TOP_CATEGORIES].sum() / rows.sum())


def permuted(group: Ints, activity_level: Ints, seed: int = 0) -> Ints:
    """The control: groups permuted among users of the same activity level.

    Group sizes, also by activity level, stay as they are; only who is in them becomes chance.

    Args:
        group: int64 ``[N]``: group numbers, -1 = none.
        activity_level: int64 ``[N]``.
        seed: of the permutation.

    Returns:
        int64 ``[N]``.
    """
    random, shuffled = np.random.default_rng(seed), group.copy()
    for level in np.unique(activity_level):
        rows = np.flatnonzero((activity_level == level) & (group >= 0))
        shuffled[rows] = group[random.permutation(rows)]
    return shuffled


def _pair_counts(group: Ints, value: Ints) -> tuple[Ints, Ints, Ints]:
    """The pairs that occur, sorted by group, and how often."""
    width = int(value.max()) + 1
    pairs, counts = np.unique(group * width + value, return_counts=True)
    return pairs // width, pairs % width, counts.astype(np.int64)


def _largest(owners: Ints, counts: Ints) -> Ints:
    """The largest count of each owner; owners are sorted."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    largest: Ints = np.maximum.reduceat(counts, starts)
    return largest
