"""Fusion of the channels' logits (eq. 10), outside the graphs so that both are seen for free."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fused:
    """Fused logits and scores, both float32 ``[R, C]``."""

    fused_logit: Floats
    score: Floats


def fuse(individual_logit_RC: Floats, group_logit_RC: Floats, alpha_fusion_R1: Floats) -> Fused:
    """Weigh the channels by alpha_fusion and squash (eq. 10).

    Args:
        individual_logit_RC: float32 ``[R, C]``.
        group_logit_RC: float32 ``[R, C]``.
        alpha_fusion_R1: float32 ``[R, 1]`` in [0, 1]: the trust in the group channel.

    Returns:
        The fused logits and their sigmoid, float32 ``[R, C]``.
    """
    fused = (1 - alpha_fusion_R1) * individual_logit_RC + alpha_fusion_R1 * group_logit_RC
    return Fused(fused_logit=fused, score=sigmoid(fused))


def sigmoid(logit: Floats) -> Floats:
    """Numerically stable logistic function, elementwise, float32."""
    exp = np.exp(-np.abs(logit))
    squashed: Floats = np.where(logit >= 0, 1, exp) / (1 + exp)
    return squashed
