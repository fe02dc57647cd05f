"""Cards: who is in a group and what they buy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.group_map import number_groups

MAX_CARDS = 500
"""Cards at most, the largest groups first: a page of more is slow to open."""
TOLD_LIFT = 1.1
"""From here on a value is told as something of the group's own."""
TOLD_CATEGORIES = 12
SAMPLES = 3
ACTIVITY_LEVELS = 5
WINDOWS = 3
WINDOW_CATEGORIES = 6
_ENOUGH_SHARE = 0.01

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fact:
    """A value that members have: an attribute's, or a category they buy."""

    name: str
    value: str
    share: float
    """Share of the members (of those with any value), or of the group's purchases."""
    lift: float
    """The share over that of all users."""


@dataclass(frozen=True)
class Card:
    """One prefix group."""

    group: tuple[int, ...]
    size: int
    share: float
    """Share of the users with a group."""
    serves: bool
    """Whether it has the ``n_min`` members that a prior needs."""
    activity: tuple[int, ...]
    """Members of activity level 1 to 5."""
    purchases: int
    attributes: tuple[Fact, ...]
    """The most frequent value of each discrete attribute, in order."""
    numbers: tuple[tuple[str, float, float], ...]
    """Each continuous attribute, its mean in the group, and over all users."""
    categories: tuple[Fact, ...]
    """The categories bought most, by falling share."""
    distinctive: tuple[Fact, ...]
    """Of categories with 1 % of the group's purchases or more, those furthest above all users
    (by a tenth at least)."""
    windows: tuple[tuple[str, ...], ...]
    """The categories bought most in the recent, the medium and the long window."""
    sequence: tuple[str, ...]
    """The group sequence of the prior, oldest first."""
    samples: tuple[Mapping[str, str], ...]
    """Profiles of the members nearest to the centroids, by section, without ids."""

    @property
    def typical(self) -> tuple[Fact, ...]:
        """The attribute values that are more frequent in it than among all users, by a tenth."""
        return tuple(fact for fact in self.attributes if fact.lift >= TOLD_LIFT)

    @property
    def prefix(self) -> str:
        """Its name, as priors are called: "3.1"."""
        return ".".join(map(str, self.group))


@dataclass(frozen=True, eq=False)
class Members:
    """All users and their purchases, as numbers; rows of one kind are in one order."""

    codes: NDArray[np.int32]
    """``[N, M]``; ``no_group`` = no group."""
    no_group: int
    distance: NDArray[np.float32]
    """``[N]``: residual norm after the last level."""
    activity_level: Ints
    """``[N]``, 1 to 5."""
    attributes: Mapping[str, tuple[Ints, Sequence[str]]]
    """Discrete attributes: ``[N]`` numbers of values (-1 = missing), and the values."""
    continuous: Mapping[str, NDArray[np.float64]]
    """``[N]``; NaN = missing."""
    buyer: Ints
    """``[P]``: position of the user of each purchase before the cut."""
    category: Ints
    """``[P]``: number of the item's finest category, -1 = none."""
    categories: Sequence[str]
    """Names of the categories."""
    window: Ints
    """``[P]``: 0 to 2 for the recent, medium and long window, -1 = older."""


def make_cards(
    members: Members,
    sequences: Mapping[tuple[int, ...], Sequence[str]],
    profile_of: Callable[[int], Mapping[str, str]],
    n_min: int,
) -> tuple[Card, ...]:
    """Describe the groups of every depth, the largest first.

    Args:
        members: users and purchases.
        sequences: the priors' sequences as texts, by prefix.
        profile_of: the section texts of a user, by position.
        n_min: members that a prior needs.

    Returns:
        At most 500 cards: all level-1 groups, then the largest.
    """
    cards: list[Card] = []
    for depth in range(1, members.codes.shape[1] + 1):
        cards += _Depth(members, depth, profile_of, n_min).cards(sequences)
    cards.sort(key=lambda card: (len(card.group) > 1, -card.size, len(card.group), card.group))
    return tuple(cards[:MAX_CARDS])


class _Rows:
    """The rows of each number, found without a search per number."""

    def __init__(self, numbers: Ints, length: int) -> None:
        self._order = np.argsort(numbers, kind="stable")
        self._starts = np.searchsorted(numbers[self._order], np.arange(length + 1))

    def __getitem__(self, number: int) -> Ints:
        rows: Ints = self._order[self._starts[number] : self._starts[number + 1]]
        return rows


class _Depth:
    """The groups of one depth while they are described."""

    def __init__(
        self,
        members: Members,
        depth: int,
        profile_of: Callable[[int], Mapping[str, str]],
        n_min: int,
    ) -> None:
        self.members = members
        self.profile_of = profile_of
        self.n_min = n_min
        self.grouped = np.flatnonzero(members.codes[:, 0] != members.no_group)
        self.names, numbers = number_groups(members.codes[self.grouped, :depth])
        group = np.full(len(members.codes), -1, np.int64)
        group[self.grouped] = numbers
        self.sizes = np.bincount(numbers, minlength=len(self.names))
        self.users = _Rows(group, len(self.names))
        self.purchases = _Rows(group[members.buyer], len(self.names))
        self.usual_values = {
            name: _counts(values[self.grouped], len(texts))
            for name, (values, texts) in members.attributes.items()
        }
        self.usual_means = {name: _mean(values) for name, values in members.continuous.items()}
        self.usual_categories = _counts(members.category, len(members.categories))

    def cards(self, sequences: Mapping[tuple[int, ...], Sequence[str]]) -> list[Card]:
        largest = np.argsort(-self.sizes, kind="stable")[:MAX_CARDS]
        return [self._card(int(number), sequences) for number in largest]

    def _card(self, number: int, sequences: Mapping[tuple[int, ...], Sequence[str]]) -> Card:
        members, size, inside = self.members, int(self.sizes[number]), self.users[number]
        group = tuple(int(code) for code in self.names[number])
        levels = np.bincount(members.activity_level[inside] - 1, minlength=ACTIVITY_LEVELS)
        bought = members.category[self.purchases[number]]
        categories = self._categories(bought)
        enough = [
            fact for fact in categories if fact.share >= _ENOUGH_SHARE and fact.lift >= TOLD_LIFT
        ]
        enough.sort(key=lambda fact: (-fact.lift, fact.value))
        return Card(
            group=group,
            size=size,
            share=size / len(self.grouped),
            serves=size >= self.n_min,
            activity=tuple(int(count) for count in levels),
            purchases=len(bought),
            attributes=tuple(self._attributes(inside)),
            numbers=tuple(self._numbers(inside)),
            categories=tuple(categories[:TOLD_CATEGORIES]),
            distinctive=tuple(enough[:TOLD_CATEGORIES]),
            windows=self._windows(bought, members.window[self.purchases[number]]),
            sequence=tuple(sequences.get(group, ())),
            samples=self._samples(inside),
        )

    def _attributes(self, inside: Ints) -> list[Fact]:
        facts = []
        for name, (values, texts) in self.members.attributes.items():
            found, usual = _counts(values[inside], len(texts)), self.usual_values[name]
            if found.sum() == 0:
                continue
            value = int(np.argmax(found))
            share, usual_share = found[value] / found.sum(), usual[value] / usual.sum()
            facts.append(Fact(name, texts[value], float(share), float(share / usual_share)))
        return facts

    def _numbers(self, inside: Ints) -> list[tuple[str, float, float]]:
        means = []
        for name, values in self.members.continuous.items():
            mine, usual = _mean(values[inside]), self.usual_means[name]
            if mine is not None and usual is not None:
                means.append((name, mine, usual))
        return means

    def _categories(self, bought: Ints) -> list[Fact]:
        names, usual = self.members.categories, self.usual_categories
        found = _counts(bought, len(names))
        if found.sum() == 0:
            return []
        shares, usual_shares = found / found.sum(), usual / usual.sum()
        order = np.lexsort((np.arange(len(names)), -found))[: np.count_nonzero(found)]
        return [
            Fact("buys", names[c], float(shares[c]), float(shares[c] / usual_shares[c]))
            for c in order
        ]

    def _windows(self, bought: Ints, window: Ints) -> tuple[tuple[str, ...], ...]:
        names = self.members.categories
        found = (_counts(bought[window == place], len(names)) for place in range(WINDOWS))
        return tuple(
            tuple(
                names[c]
                for c in np.argsort(-counts, kind="stable")[:WINDOW_CATEGORIES]
                if counts[c]
            )
            for counts in found
        )

    def _samples(self, inside: Ints) -> tuple[Mapping[str, str], ...]:
        nearest = inside[np.argsort(self.members.distance[inside], kind="stable")[:SAMPLES]]
        return tuple(self.profile_of(int(user)) for user in nearest)


def _counts(numbers: Ints, length: int) -> Ints:
    return np.bincount(numbers[numbers >= 0], minlength=length).astype(np.int64)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
