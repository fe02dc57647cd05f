"""Models of one size: the tower that gives a model as many dense parameters as another has."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch

from model.network.config import NetworkConfig
from model.network.contract import ConversionModel

Maker = Callable[[NetworkConfig], ConversionModel]
"""Makes a model of given sizes; everything else about it is fixed."""

TOLERANCE = 0.05
"""Largest relative difference that still counts as one size."""


def dense_parameters(make: Maker, config: NetworkConfig) -> int:
    """Count a model's dense parameters without allocating any.

    Args:
        make: makes the model.
        config: its sizes.
    """
    with torch.device("meta"):
        return make(config).dense_parameters()


def matched_size(make: Maker, config: NetworkConfig, dense: int) -> NetworkConfig:
    """Widen or narrow a model's tower until its dense parameters come nearest a number.

    The ratios of the tower's widths stay, up to rounding; every other size stays as it is.

    Args:
        make: makes the model.
        config: the sizes to begin from.
        dense: the number of dense parameters to come near, such as ChoirRec's.

    Returns:
        The sizes with that tower; of two equally near the narrower.

    Raises:
        ValueError: when the nearest is further than ``TOLERANCE`` away.
    """

    def scaled(first: int) -> NetworkConfig:
        widths = (max(1, round(first * width / config.tower[0])) for width in config.tower[1:])
        return replace(config, tower=(first, *widths))

    @cache
    def count(first: int) -> int:
        return dense_parameters(make, scaled(first))

    widest = config.tower[0]
    while count(widest) < dense:
        widest *= 2
    enough = bisect_left(range(widest), dense, lo=1, key=count)
    nearest = min((max(enough - 1, 1), enough), key=lambda first: abs(count(first) - dense))
    if abs(count(nearest) - dense) > TOLERANCE * dense:
        raise ValueError(
            f"no tower gives about {dense} dense parameters: expected within {TOLERANCE:.0%}, the "
            f"nearest, {scaled(nearest).tower}, gives {count(nearest)}; what lies beside the "
            "tower is too large, or the widths are too coarse"
        )
    return scaled(nearest)


@dataclass(frozen=True)
class SizeRow:
    """One model's size, as designed and matched."""

    model: str
    """Name of the model."""
    designed: int
    """Dense parameters at the sizes given."""
    tower: tuple[int, ...]
    """Hidden widths of the matched tower."""
    matched: int
    """Dense parameters with that tower."""


def size_table(
    makers: Mapping[str, Maker], config: NetworkConfig, reference: str
) -> tuple[SizeRow, ...]:
    """The dense parameters of every model, as designed and matched to one of them.

    Args:
        makers: the models by name.
        config: the sizes of all as designed.
        reference: the name of the model that the others are matched to.

    Returns:
        One row per model, in the order given.

    Raises:
        KeyError: when no model has the reference's name.
        ValueError: when a model cannot be matched.
    """
    designed = {name: dense_parameters(make, config) for name, make in makers.items()}
    rows = []
    for name, make in makers.items():
        size = matched_size(make, config, designed[reference])
        rows.append(SizeRow(name, designed[name], size.tower, dense_parameters(make, size)))
    return tuple(rows)
