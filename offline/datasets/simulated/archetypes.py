"""Archetypes: 128 kinds of shopper, and the categories that they choose from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.constants import Constants
from offline.datasets.simulated.names import ATTRIBUTES, BRAND_NAMES, L1_NAMES, LEAF_NAMES, STYLES
from offline.datasets.simulated.streams import Stream, stream

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

LEAF_L1: Ints = np.repeat(np.arange(len(L1_NAMES)), len(LEAF_NAMES) // len(L1_NAMES)).astype(
    np.int32
)
"""int32 ``[320]``: the first-level category of each leaf."""


@dataclass(frozen=True, eq=False)
class Leaves:
    """Leaf categories."""

    log_weight: Doubles
    """float64 ``[320]``: log popularity (beta)."""
    factors: Floats
    """float32 ``[320, 6]``: what individual taste weighs; rows of length about one."""
    phase: Doubles
    """float64 ``[320]``: of the yearly season, radians."""

    @classmethod
    def draw(cls, seed: int, constants: Constants) -> "Leaves":
        """The leaves of a world."""
        rng = stream(seed, Stream.CATEGORIES)
        n, width = len(LEAF_NAMES), constants.factors
        log_weight = constants.leaf_weight * rng.standard_normal(n)
        by_l1 = rng.standard_normal((len(L1_NAMES), width))[LEAF_L1]
        own = rng.standard_normal((n, width))
        factors = constants.factor_l1 * by_l1 + constants.factor_leaf * own
        return cls(
            log_weight=log_weight,
            factors=(factors / np.sqrt(width)).astype(np.float32),
            phase=rng.uniform(0, 2 * np.pi, n),
        )


@dataclass(frozen=True, eq=False)
class Archetypes:
    """A archetypes, numbered stage by stage, taste by taste, philosophy by philosophy."""

    weight: Doubles
    """float64 ``[A]``: share of the users."""
    stage: Ints
    """int32 ``[A]``: life stage."""
    theme: Ints
    """int32 ``[A]``: the taste, as one of the themes."""
    philosophy: Ints
    """int32 ``[A]``."""
    utility: Doubles
    """float64 ``[A, 320]``: category utility (T)."""
    category: Floats
    """float32 ``[A, 320]``: T standardised by archetype (Cat)."""
    price: Floats
    """float32 ``[A]``: price target in tiers (pi)."""
    style: Floats
    """float32 ``[A, 8]`` (S), standardised."""
    brand: Floats
    """float32 ``[A, 300]`` (B), standardised, of low rank."""
    modes: Ints
    """int32 ``[A, 6]``: the usual value of each attribute."""

    @classmethod
    def draw(cls, seed: int, constants: Constants, null: bool) -> "Archetypes":
        """The archetypes of a world.

        Args:
            seed: the world's number.
            constants: the simulator's constants.
            null: archetypes then differ in size and attributes alone, not in behaviour.

        Returns:
            The archetypes.
        """
        rng = stream(seed, Stream.ARCHETYPES)
        stage, taste, philosophy = _numbering(constants)
        weight = _weights(rng, constants)
        themes = np.array(
            [rng.permutation(constants.themes) for _ in range(constants.stages)], np.int32
        )
        theme = themes[stage, taste]
        utility = _utility(rng, constants, stage, theme)
        n = len(weight)
        target = np.array(constants.price_targets)[philosophy]
        price = target + constants.price_noise * rng.standard_normal(n)
        style = _standardised(rng.standard_normal((n, len(STYLES))))
        left = rng.standard_normal((n, constants.brand_rank))
        right = rng.standard_normal((constants.brand_rank, len(BRAND_NAMES)))
        brand = _standardised(np.einsum("ar,rb->ab", left, right))
        modes = _modes(rng, constants, stage, theme, price)
        effect = 0.0 if null else 1.0
        middle = float(weight @ price)
        return cls(
            weight=weight,
            stage=stage,
            theme=theme,
            philosophy=philosophy,
            utility=effect * utility,
            category=(effect * _standardised(utility)).astype(np.float32),
            price=(middle + effect * (price - middle)).astype(np.float32),
            style=(effect * style).astype(np.float32),
            brand=(effect * brand).astype(np.float32),
            modes=modes,
        )


def _numbering(constants: Constants) -> tuple[Ints, Ints, Ints]:
    shape = (constants.stages, constants.tastes, constants.philosophies)
    stage, taste, philosophy = np.indices(shape).reshape(3, -1).astype(np.int32)
    return stage, taste, philosophy


def _weights(rng: np.random.Generator, constants: Constants) -> Doubles:
    stages, tastes, philosophies = constants.stages, constants.tastes, constants.philosophies
    first, second, third = constants.concentrations
    by_stage = rng.dirichlet(np.full(stages, first))
    by_taste = rng.dirichlet(np.full(tastes, second), stages)
    by_philosophy = rng.dirichlet(np.full(philosophies, third), (stages, tastes))
    weights: Doubles = by_stage[:, None, None] * by_taste[:, :, None] * by_philosophy
    return weights.reshape(-1)


def _utility(rng: np.random.Generator, constants: Constants, stage: Ints, theme: Ints) -> Doubles:
    """Utility of every leaf to every archetype: what stage, taste and chance add up to."""
    leaves = len(LEAF_NAMES)
    by_stage = _by_l1(
        rng, constants.stages, constants.stage_l1, constants.stage_favoured, constants.stage_favour
    )
    by_theme = _by_l1(
        rng, constants.themes, constants.taste_l1, constants.taste_favoured, constants.taste_favour
    )
    theme_leaf = constants.taste_leaf * rng.standard_normal((constants.themes, leaves))
    own = constants.own_leaf * rng.standard_normal((len(stage), leaves))
    utility: Doubles = (
        by_stage[stage][:, LEAF_L1] + by_theme[theme][:, LEAF_L1] + theme_leaf[theme] + own
    )
    return utility


def _by_l1(
    rng: np.random.Generator, rows: int, deviation: float, favoured: int, favour: float
) -> Doubles:
    """float64 ``[rows, 20]``: noise over first-level categories, and more for a few favourites."""
    noise = deviation * rng.standard_normal((rows, len(L1_NAMES)))
    ranks = rng.permuted(np.tile(np.arange(len(L1_NAMES)), (rows, 1)), axis=1)
    utility: Doubles = noise + favour * (ranks < favoured)
    return utility


def _standardised(values: Doubles) -> Doubles:
    """Each row with mean 0 and deviation 1."""
    centred = values - values.mean(axis=1, keepdims=True)
    standardised: Doubles = centred / centred.std(axis=1, keepdims=True)
    return standardised


def _modes(
    rng: np.random.Generator, constants: Constants, stage: Ints, theme: Ints, price: Doubles
) -> Ints:
    """Modes by stage; each theme moves one attribute; spending follows the price target."""
    sizes = np.array([len(values) for values in ATTRIBUTES.values()])
    by_stage = rng.integers(0, sizes, (constants.stages, len(sizes)))
    moved = rng.integers(0, len(sizes) - 1, constants.themes)
    step = rng.integers(1, np.maximum(sizes[moved], 2))
    modes = by_stage[stage]
    rows = np.arange(len(stage))
    field = moved[theme]
    modes[rows, field] = (modes[rows, field] + step[theme]) % sizes[field]
    modes[:, -1] = np.clip(np.rint(price).astype(np.int64), 1, sizes[-1]) - 1
    return modes.astype(np.int32)
