"""ChoirRec, whole and with parts taken away."""

from dataclasses import replace
from typing import Any

import numpy as np

from model.losses import LossConfig, activity_threshold
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.single_channel import SingleChannel
from model.network.variants import make_variant
from offline.methods.method import Materials


def choirrec(
    materials: Materials, config: NetworkConfig, variant: str = "choirrec", **losses: Any
) -> ChoirRec | SingleChannel:
    """The paper's model, or a variant of it.

    Args:
        materials: what it is made from.
        config: its sizes.
        variant: one of ``VARIANTS``: what is taken from it.
        losses: constants of the losses other than the preset's.
    """
    return make_variant(
        variant,
        materials.samples.spec,
        config,
        materials.lookups(),
        losses_of(materials, **losses),
        materials.seed,
    )


def losses_of(materials: Materials, **changed: Any) -> LossConfig:
    """The losses of a preset, with theta_act counted over the training rows."""
    train = materials.samples.train
    theta_act = activity_threshold(np.asarray(train.users.purchases)[train.row_context])
    make = LossConfig.identified if materials.preset.auxiliary else LossConfig.literal
    return replace(make(theta_act), **changed)
