"""Items: brand, price tier, style, popularity and quality of everything on sale."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import LEAF_L1, Doubles, Floats, Ints, Leaves
from offline.datasets.simulated.constants import Constants
from offline.datasets.simulated.draws import AliasTables
from offline.datasets.simulated.names import L1_NAMES, PRICE_TIERS, RATINGS, STYLES
from offline.datasets.simulated.streams import Stream, stream


@dataclass(frozen=True, eq=False)
class Items:
    """All items, leaf by leaf, the most popular of a leaf first."""

    leaf: Ints
    """int32 ``[I]``."""
    brand: Ints
    """int32 ``[I]``, of 300."""
    tier: Ints
    """int32 ``[I]``: price tier, 1 to 5."""
    style: Ints
    """int32 ``[I]``, of 8."""
    rating: Ints
    """int32 ``[I]``: what is visible of the quality, 0 to 9."""
    quality: Floats
    """float32 ``[I]``: what it adds to the logit of a purchase (q)."""
    by_leaf: AliasTables
    """Picks an item of a leaf by popularity."""

    @classmethod
    def draw(cls, seed: int, constants: Constants, leaves: Leaves, n_items: int) -> "Items":
        """The items of a world; every leaf has one at least."""
        rng = stream(seed, Stream.ITEMS)
        counts = _counts(rng, leaves, n_items)
        leaf = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        popularity = [
            (np.arange(count) + 1 + constants.popularity_shift) ** -constants.popularity_skew
            for count in counts
        ]
        brand, tier = _brands(rng, constants, LEAF_L1[leaf])
        appeal = np.concatenate([_standardised(np.log(values)) for values in popularity])
        noise = constants.quality_noise * rng.standard_normal(n_items)
        inner = constants.quality_popularity * appeal + noise
        seen = inner + constants.rating_noise * rng.standard_normal(n_items)
        return cls(
            leaf=leaf,
            brand=brand,
            tier=tier,
            style=rng.integers(0, len(STYLES), n_items).astype(np.int32),
            rating=_levels(seen, len(RATINGS)),
            quality=(constants.quality * inner).astype(np.float32),
            by_leaf=AliasTables.build(popularity),
        )


def _counts(rng: np.random.Generator, leaves: Leaves, n_items: int) -> NDArray[np.int64]:
    share = np.exp(leaves.log_weight)
    return 1 + rng.multinomial(n_items - len(share), share / share.sum())


def _brands(rng: np.random.Generator, constants: Constants, l1: Ints) -> tuple[Ints, Ints]:
    """Brand and price tier of items by their first-level category."""
    own = constants.brands_per_l1
    brand_tier = rng.integers(1, len(PRICE_TIERS) + 1, len(L1_NAMES) * own)
    share = np.arange(1, own + 1) ** -constants.brand_skew
    brand = own * l1 + rng.choice(own, len(l1), p=share / share.sum())
    step = rng.choice([-1, 0, 1], len(l1), p=constants.tier_shares)
    tier = np.clip(brand_tier[brand] + step, 1, len(PRICE_TIERS))
    return brand.astype(np.int32), tier.astype(np.int32)


def _standardised(values: Doubles) -> Doubles:
    deviation = values.std()
    centred: Doubles = values - values.mean()
    return centred / deviation if deviation > 0 else centred


def _levels(values: Doubles, levels: int) -> Ints:
    """Equal shares of the values in each level."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return (rank * levels // len(values)).astype(np.int32)
