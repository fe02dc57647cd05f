"""Group maps: where the users of every group are in another grouping of the same users."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.grouped import GroupedUsers

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Move:
    """One old group, and where its users are now."""

    group: tuple[int, ...]
    users: int
    successor: tuple[int, ...]
    """The new group that most of them are in (of equal ones the lowest); under the same
    codebooks, the group itself."""
    stayed: float
    """Share of them that is in the successor."""


@dataclass(frozen=True)
class GroupMap:
    """The old groups of one depth, mapped to the new ones."""

    depth: int
    users: int
    """Users that have a group in both."""
    moved: float
    """Share of these users that is not in their old group's successor."""
    adjusted_rand_index: float
    """1 = the same division, about 0 = no more alike than by chance; names of codes do not
    count."""
    groups: tuple[Move, ...]
    """By falling number of users, then by name."""


@dataclass(frozen=True)
class Comparison:
    """Two groupings of users, depth by depth."""

    same_codebooks: bool
    """Whether codes mean the same in both, as from cut to cut."""
    left: int
    """Users with a group in the old grouping that have none, or are not there, in the new one."""
    joined: int
    """The other way round."""
    maps: tuple[GroupMap, ...]
    """One per depth, 1 to M."""


def compare(old: GroupedUsers, new: GroupedUsers) -> Comparison:
    """Map the groups of an old grouping to those of a new one.

    Args:
        old: the old grouping.
        new: the new one; users are matched by their keys.

    Returns:
        The comparison.

    Raises:
        ValueError: when no user has a group in both, or the numbers of levels differ.
    """
    if old.codebooks.levels != new.codebooks.levels:
        raise ValueError(
            f"{old.codebooks.levels} levels against {new.codebooks.levels}: groups of different"
            " depth cannot be mapped; compare groupings of the same preset"
        )
    _, mine, theirs = np.intersect1d(
        old.keys[old.grouped], new.keys[new.grouped], return_indices=True
    )
    before, after = old.codes[old.grouped][mine], new.codes[new.grouped][theirs]
    if len(before) == 0:
        raise ValueError("no user has a group in both; expected groupings of the same users")
    same = old.codebooks.digest == new.codebooks.digest
    return Comparison(
        same_codebooks=same,
        left=int(old.grouped.sum()) - len(before),
        joined=int(new.grouped.sum()) - len(before),
        maps=tuple(
            map_groups(before[:, :depth], after[:, :depth], same)
            for depth in range(1, before.shape[1] + 1)
        ),
    )


def told(comparison: Comparison) -> list[str]:
    """A comparison as lines of text: every depth in short, then the level-1 groups."""
    same = "the same codebooks" if comparison.same_codebooks else "codebooks fitted apart"
    head = (
        f"{comparison.maps[0].users:,} users have a group in both, by {same};"
        f" {comparison.left:,} lost theirs, {comparison.joined:,} are new"
    )
    depths = [
        f"depth {one.depth}: {one.moved:.1%} moved, adjusted Rand index"
        f" {one.adjusted_rand_index:.3f}"
        for one in comparison.maps
    ]
    lines = [head, *depths, "old group      users  most are in     share"]
    for move in comparison.maps[0].groups:
        names = [".".join(map(str, group)) for group in (move.group, move.successor)]
        lines.append(f"{names[0]:<10}{move.users:>10,}  {names[1]:<12}{move.stayed:>9.1%}")
    return lines


def map_groups(old: NDArray[np.int32], new: NDArray[np.int32], same_codebooks: bool) -> GroupMap:
    """Map the old groups of one depth to the new ones.

    Args:
        old: int32 ``[N, depth]``: codes of N users, all with a group.
        new: int32 ``[N, depth]``: codes of the same users.
        same_codebooks: whether equal codes mean the same group; every group then succeeds itself.

    Returns:
        The map.
    """
    names, before = number_groups(old)
    new_names, after = number_groups(new)
    rows, columns, counts = contingency(before, after)
    sizes = np.bincount(before, minlength=len(names))
    order = np.lexsort((columns, -counts, rows))
    first = order[np.unique(rows[order], return_index=True)[1]]
    if same_codebooks:
        stayed = np.bincount(before[(old == new).all(axis=1)], minlength=len(names))
        successors = names
    else:
        stayed, successors = counts[first], new_names[columns[first]]
    moves = [
        Move(_tuple(name), int(size), _tuple(successor), float(kept / size))
        for name, size, successor, kept in zip(names, sizes, successors, stayed, strict=True)
    ]
    return GroupMap(
        depth=old.shape[1],
        users=len(old),
        moved=float(1 - stayed.sum() / len(old)),
        adjusted_rand_index=adjusted_rand_index(before, after),
        groups=tuple(sorted(moves, key=lambda move: (-move.users, move.group))),
    )


def number_groups(codes: NDArray[np.int32]) -> tuple[NDArray[np.int32], Ints]:
    """Number the groups that have users.

    Args:
        codes: int32 ``[N, depth]``.

    Returns:
        int32 ``[G, depth]``: the groups, sorted; int64 ``[N]``: the number of each user's group.
    """
    names, numbers = np.unique(codes, axis=0, return_inverse=True)
    return names, numbers.reshape(-1).astype(np.int64)


def contingency(before: Ints, after: Ints) -> tuple[Ints, Ints, Ints]:
    """How many users are in each pair of an old and a new group.

    Args:
        before: int64 ``[N]``: numbers of old groups.
        after: int64 ``[N]``: numbers of new groups.

    Returns:
        int64 ``[P]`` each: old group, new group, users; the pairs that occur, sorted.
    """
    width = int(after.max()) + 1
    pairs, counts = np.unique(before * width + after, return_counts=True)
    return pairs // width, pairs % width, counts.astype(np.int64)


def adjusted_rand_index(before: Ints, after: Ints) -> float:
    """Agreement of two divisions of the same users, corrected for chance.

    Args:
        before: int64 ``[N]``: group numbers.
        after: int64 ``[N]``: group numbers of the other division.

    Returns:
        At most 1; 1 for equal divisions, about 0 for independent ones.

    Source: Hubert and Arabie, Comparing partitions, 1985.
    """
    _, _, counts = contingency(before, after)
    together = _pairs(counts)
    mine, theirs = _pairs(np.bincount(before)), _pairs(np.bincount(after))
    everybody = _pairs(np.array([len(before)]))
    if mine == theirs == together:
        return 1.0
    chance = mine * theirs / everybody
    return float((together - chance) / ((mine + theirs) / 2 - chance))


def _pairs(counts: Ints) -> float:
    """Pairs of users within the same group."""
    exact = counts.astype(np.float64)
    return float(np.sum(exact * (exact - 1) / 2))


def _tuple(codes: NDArray[np.int32]) -> tuple[int, ...]:
    return tuple(int(code) for code in codes)
