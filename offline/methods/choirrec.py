"""ChoirRec, whole and with parts taken away."""

from dataclasses import replace
from typing import Any

import numpy as np

from model.losses import LossConfig, activity_threshold
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from offline.methods.method import Materials


def choirrec(materials: Materials, config: NetworkConfig, **losses: Any) -> ChoirRec:
    """The paper's model.

    Args:
        materials: what it is made from.
        config: its sizes.
        losses: constants of the losses other than the preset's.
    """
    return ChoirRec(
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
