"""The policy: how a user comes upon an item, and how likely a click on it ends in a purchase."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Archetypes, Floats, Ints, Leaves
from offline.datasets.simulated.constants import Constants
from offline.datasets.simulated.draws import AliasTables, choose
from offline.datasets.simulated.items import Items
from offline.datasets.simulated.users import Users

OWN: Final = 0
EXPLORE: Final = 1
GIFT: Final = 2


@dataclass(frozen=True, eq=False)
class Intents:
    """What drives N draws; arrays of one length."""

    user: NDArray[np.int64]
    """int64: position in the block."""
    kind: NDArray[np.int8]
    """int8: OWN, EXPLORE or GIFT."""
    archetype: Ints
    """int32: whose taste decides: the user's archetype, or the one a gift is for."""
    personal: Floats
    """float32: 1 where the user's individual taste counts too, 0 for a gift."""
    day: NDArray[np.int64]
    """int64: day of the simulation; the history's are negative."""

    def take(self, rows: NDArray[np.int64]) -> "Intents":
        """Some of the rows, in the order given."""
        return Intents(
            self.user[rows],
            self.kind[rows],
            self.archetype[rows],
            self.personal[rows],
            self.day[rows],
        )


@dataclass(frozen=True, eq=False)
class Policy:
    """The choices that users of one world make."""

    constants: Constants
    archetypes: Archetypes
    items: Items
    leaf_factors: Floats
    season: Floats
    """float32 ``[365, 320]``: what the day of the year adds to a leaf's utility."""
    leaf_of: AliasTables
    """Picks a leaf by archetype; the last table is that of exploring."""
    archetype_of: AliasTables
    """Picks whom a gift is for."""

    @classmethod
    def build(
        cls, constants: Constants, leaves: Leaves, archetypes: Archetypes, items: Items
    ) -> "Policy":
        """The policy of a world."""
        day = np.arange(constants.history_days)[:, None]
        season = constants.season * np.sin(2 * np.pi * day / constants.history_days + leaves.phase)
        chosen = np.exp(constants.leaf_scale * archetypes.utility + leaves.log_weight)
        return cls(
            constants=constants,
            archetypes=archetypes,
            items=items,
            leaf_factors=leaves.factors,
            season=season.astype(np.float32),
            leaf_of=AliasTables.build([*chosen, np.exp(leaves.log_weight)]),
            archetype_of=AliasTables.build([archetypes.weight]),
        )

    def intents(
        self,
        rng: np.random.Generator,
        users: Users,
        user: NDArray[np.int64],
        day: NDArray[np.int64],
    ) -> Intents:
        """Draw what each session, or each purchase of the history, is about."""
        u = rng.random(len(user))
        explore = self.constants.own_share + self.constants.explore_share
        kind = ((u >= self.constants.own_share).astype(np.int8) + (u >= explore)).astype(np.int8)
        other = self.archetype_of.pick(rng, np.zeros(len(user), np.int32))
        gift = kind == GIFT
        return Intents(
            user=user,
            kind=kind,
            archetype=np.where(gift, other, users.archetype[user]),
            personal=(~gift).astype(np.float32),
            day=day,
        )

    def pick_leaf(self, rng: np.random.Generator, users: Users, intents: Intents) -> Ints:
        """int32 ``[N]``: of some leaves drawn, the one that individual taste and season choose."""
        explores = len(self.archetypes.weight)
        table = np.where(intents.kind == EXPLORE, explores, intents.archetype).astype(np.int32)
        drawn = self.leaf_of.pick(rng, np.repeat(table[:, None], self.constants.leaf_draws, axis=1))
        drawn %= len(self.leaf_factors)
        taste = users.leaf_taste[intents.user[:, None], drawn] * intents.personal[:, None]
        season = self.season[(intents.day % self.constants.history_days)[:, None], drawn]
        best = choose(rng, self.constants.personal * taste + season)
        return drawn[np.arange(len(drawn)), best]

    def pick_item(
        self, rng: np.random.Generator, users: Users, intents: Intents, leaf: Ints
    ) -> Ints:
        """int32 ``[N]``: of some items of the leaf drawn by popularity, the one that suits best."""
        draws = self.constants.item_draws
        drawn = self.items.by_leaf.pick(rng, np.repeat(leaf[:, None], draws, axis=1))
        match = np.stack([self.match(users, intents, drawn[:, c]) for c in range(draws)], axis=1)
        best = choose(rng, np.float32(self.constants.item_scale) * match)
        return drawn[np.arange(len(drawn)), best]

    def appeal(self, users: Users, intents: Intents, item: Ints) -> Floats:
        """float32 ``[N]``: match and quality, as they stand in the logit."""
        match = self.match(users, intents, item)
        appeal: Floats = np.float32(self.constants.match) * match + self.items.quality[item]
        return appeal

    def match(self, users: Users, intents: Intents, item: Ints) -> Floats:
        """float32 ``[N]``: how an item suits category, price, style and brand taste."""
        constants, archetypes, items = self.constants, self.archetypes, self.items
        user, archetype = intents.user, intents.archetype
        personal = np.float32(constants.personal) * intents.personal
        spread = np.float32(np.sqrt(1 + constants.personal**2))
        leaf, style = items.leaf[item], items.style[item]
        category = archetypes.category[archetype, leaf] + personal * users.leaf_taste[user, leaf]
        away = items.tier[item] - archetypes.price[archetype]
        away = (away - intents.personal * users.delta[user]).astype(np.float32)
        price = np.float32(constants.price_best) - np.float32(constants.price_curve) * away * away
        liking = archetypes.style[archetype, style] + personal * users.eta[user, style]
        brand = archetypes.brand[archetype, items.brand[item]]
        match: Floats = (
            np.float32(constants.match_category) / spread * category
            + np.float32(constants.match_price / constants.price_deviation) * price
            + np.float32(constants.match_style) / spread * liking
            + np.float32(constants.match_brand) * brand
        )
        return match
