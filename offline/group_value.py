"""Group value: how much better groups foretell what their members buy later, before any model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.events import CanonicalTables
from offline.histories import Ints, positions, seconds
from offline.priors import prefix_depths

ROUNDS = 60
"""Of fitting the mixture: its weights then move by less than a thousandth."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """Mean gain in log-likelihood per later purchase, in nats."""

    value: float
    error: float
    """Standard error over users."""
    purchases: int


@dataclass(frozen=True)
class GroupValue:
    """What groups tell of the later purchases of some users; 0 = nothing."""

    alone: Gain
    """Shares of the groups beside those of everybody."""
    beyond_own: Gain
    """Shares of the groups beside those of everybody and the user's own."""


@dataclass(frozen=True, eq=False)
class Bought:
    """Purchases of N users by leaf category, each pair of user and leaf once."""

    user: Ints
    leaf: Ints
    count: Doubles

    @classmethod
    def between(cls, tables: CanonicalTables, start_s: int, end_s: int) -> "Bought":
        """The purchases at or after a moment and strictly before another."""
        purchases, items = tables.purchases(), tables.items()
        times = seconds(purchases["time"])
        inside = purchases.take(np.flatnonzero((times >= start_s) & (times < end_s)))
        names = items[tables.schema.categories[-1]].combine_chunks().dictionary_encode()
        leaves = np.asarray(names.indices.fill_null(len(names.dictionary)), np.int64)
        leaf = leaves[positions(inside["item_id"], items["item_id"])]
        user = positions(inside["user_id"], tables.users()["user_id"])
        width = len(names.dictionary) + 1
        keys, count = np.unique(user * width + leaf, return_counts=True)
        return cls(keys // width, keys % width, count.astype(np.float64))

    def of(self, users: NDArray[np.bool_]) -> "Bought":
        """The purchases of some users, bool ``[N]``."""
        kept = users[self.user]
        return Bought(self.user[kept], self.leaf[kept], self.count[kept])


def group_value(
    past: Bought, later: Bought, codes: NDArray[np.int32], no_group: int, n_min: int
) -> GroupValue:
    """Measure how well the leaf categories of a user's group foretell the user's later purchases.

    Later purchases are read as draws from a mixture of shares: of everybody, and of each prefix
    group up to the one whose prior the user reads, without the user's own purchases. The mixture's
    weights are fitted on every second user and measured on the others, in turn. It costs seconds
    and touches no row of the conversion task: made to choose between groupings. Permuted groups
    come out at 0 or just below.

    Args:
        past: purchases of all N users before the cut of the groups.
        later: purchases at or after it, of the users in question; to choose by, nothing of the
            test.
        codes: int32 ``[N, M]``, in the order of the users table.
        no_group: the code that means "no group".
        n_min: members that a prefix group needs.

    Returns:
        The gains.

    Raises:
        ValueError: when there are no purchases of two users, or none before the cut.

    Source: docs/groups.md.
    """
    if len(np.unique(later.user)) < 2 or not past.count.any():
        raise ValueError(
            f"purchases of {len(np.unique(later.user))} users after the cut and of"
            f" {len(np.unique(past.user))} before it; expected at least two and one: widen the span"
        )
    everybody = _everybody(past, later)
    own = _shares(past, later, np.arange(len(codes)), leave_out=False)
    known = [everybody, np.where(np.isnan(own), everybody, own)]
    ladder = _ladder(past, later, codes, prefix_depths(codes, n_min, no_group), everybody)
    return GroupValue(_gain(later, known[:1], ladder), _gain(later, known, ladder))


def _ladder(
    past: Bought,
    later: Bought,
    codes: NDArray[np.int32],
    depths: NDArray[np.int64],
    everybody: Doubles,
) -> list[Doubles]:
    """Shares of the prefix groups, coarse to fine; where a user reads none, of the coarser one."""
    ladder, coarser = [], everybody
    for depth in range(1, codes.shape[1] + 1):
        _, group = np.unique(codes[:, :depth], axis=0, return_inverse=True)
        share = _shares(past, later, group.reshape(-1), leave_out=True)
        read = (depths[later.user] >= depth) & ~np.isnan(share)
        coarser = np.where(read, share, coarser)
        ladder.append(coarser)
    return ladder


def _everybody(past: Bought, later: Bought) -> Doubles:
    """Like ``_shares`` of all users; one further purchase of every leaf, so that none is zero."""
    leaves = int(max(past.leaf.max(), later.leaf.max())) + 1
    counts = np.bincount(past.leaf, past.count, leaves) + 1
    shares: Doubles = (counts / counts.sum())[later.leaf]
    return shares


def _shares(past: Bought, later: Bought, group: Ints, leave_out: bool) -> Doubles:
    """Of each later purchase the share of its leaf in what the user's group bought before.

    Returns:
        float64, one per pair of ``later``; NaN where the group (without the user) bought nothing.
    """
    width = int(max(past.leaf.max(), later.leaf.max())) + 1
    asked = group[later.user]
    counts = _sum_by(group[past.user] * width + past.leaf, past.count)
    leaf_count = _looked_up(counts, asked * width + later.leaf)
    total = np.bincount(group[past.user], past.count, group.max() + 1)[asked]
    if leave_out:
        own = _sum_by(past.user * width + past.leaf, past.count)
        leaf_count -= _looked_up(own, later.user * width + later.leaf)
        total = total - np.bincount(past.user, past.count, len(group))[later.user]
    unknown = np.full(len(total), np.nan)
    shares: Doubles = np.divide(leaf_count, total, out=unknown, where=total > 0)
    return shares


def _sum_by(keys: Ints, values: Doubles) -> tuple[Ints, Doubles]:
    """Distinct keys, sorted, and the sum of the values of each."""
    distinct, place = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(place, values, len(distinct)).astype(np.float64)


def _looked_up(sums: tuple[Ints, Doubles], keys: Ints) -> Doubles:
    """The sum of each key; 0 where there is none."""
    distinct, values = sums
    place = np.minimum(np.searchsorted(distinct, keys), len(distinct) - 1)
    found: Doubles = np.where(distinct[place] == keys, values[place], 0.0)
    return found


def _gain(later: Bought, without: list[Doubles], ladder: list[Doubles]) -> Gain:
    """What the groups' shares add to those without them."""
    half = np.searchsorted(np.unique(later.user), later.user) % 2 == 1
    gain = later.count * (
        _log_likelihood(np.stack([*without, *ladder], axis=1), later.count, half)
        - _log_likelihood(np.stack(without, axis=1), later.count, half)
    )
    purchases = later.count.sum()
    mean = gain.sum() / purchases
    by_user = np.bincount(later.user, gain - mean * later.count)
    error = np.sqrt(np.square(by_user).sum()) / purchases
    return Gain(float(mean), float(error), int(purchases))


def _log_likelihood(shares: Doubles, count: Doubles, half: NDArray[np.bool_]) -> Doubles:
    """Of each row under a mixture fitted on the other half; shares ``[E, components]``."""
    found = np.empty(len(shares))
    for mine in (half, ~half):
        weights = _mixture(shares[~mine], count[~mine])
        found[mine] = np.log(shares[mine] @ weights)
    return found


def _mixture(shares: Doubles, count: Doubles) -> Doubles:
    """The likeliest weights of the components, by expectation and maximisation."""
    weights = np.full(shares.shape[1], 1 / shares.shape[1])
    for _ in range(ROUNDS):
        parts = shares * weights
        parts /= parts.sum(axis=1, keepdims=True)
        weights = (count[:, None] * parts).sum(axis=0) / count.sum()
    return weights
