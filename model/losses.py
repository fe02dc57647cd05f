"""The losses of ChoirRec as pure functions of tensors (eq. 7, 9, 11, 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MIN_THETA_ACT = 3
THETA_ACT_PERCENTILE = 60


@dataclass(frozen=True)
class LossConfig:
    """Constants of the losses; the defaults are docs/model.md's."""

    theta_act: int = MIN_THETA_ACT
    """Purchases from which a user's own channel may teach (``activity_threshold``)."""
    theta_conf: float = 0.1
    """The teacher is confident when its probability is further than this from one half."""
    temperature: float = 2.0
    """T of eq. 7."""
    margin: float = 0.05
    """m of eq. 7: the difference of probabilities that distillation tolerates."""
    distillation_weight: float = 0.005
    """lambda of eq. 11."""
    distillation_warmup: float = 0.1
    """Share of the steps before distillation begins: at first the teacher is random."""
    auxiliary_weight: float = 0.0
    """Weight of the cross-entropy of each channel's own logit; the paper has none."""
    gated: bool = True
    """False, an ablation: every row teaches with weight 1 (g_qual = alpha_distill = 1)."""
    divergence: Literal["margin", "kl"] = "margin"
    """What is distilled: eq. 7 or, an ablation, the Kullback-Leibler divergence in its place."""

    def __post_init__(self) -> None:
        if self.divergence not in ("margin", "kl"):
            raise ValueError(f"divergence {self.divergence!r}: expected 'margin' or 'kl'")

    @property
    def ablated(self) -> bool:
        """Whether a part of the paper's distillation is switched off or replaced."""
        whole = self.gated and self.divergence == "margin"
        return not (whole and self.margin and self.distillation_weight)

    @classmethod
    def literal(cls, theta_act: int) -> "LossConfig":
        """The paper's losses and no other: the channels' own logits are not identified."""
        return cls(theta_act=theta_act)

    @classmethod
    def identified(cls, theta_act: int) -> "LossConfig":
        """With a cross-entropy on each channel's logit, so that each is a probability's logit."""
        return cls(theta_act=theta_act, auxiliary_weight=0.1)


def activity_threshold(purchases: NDArray[np.int64]) -> int:
    """theta_act: the 60th percentile over training rows, 3 at least (docs/model.md).

    Args:
        purchases: int64 ``[N]``: the user's purchases as of each training row.

    Returns:
        The smallest count of purchases that qualifies.
    """
    if not len(purchases):
        return MIN_THETA_ACT
    level = np.percentile(purchases, THETA_ACT_PERCENTILE, method="higher")
    return max(MIN_THETA_ACT, int(level))


def margin_loss(
    individual_logit: Tensor, group_logit: Tensor, temperature: float, margin: float
) -> Tensor:
    """Squared excess of the difference of tempered probabilities over the margin (eq. 7).

    Args:
        individual_logit: float32 ``[R, C]``.
        group_logit: float32 ``[R, C]``.
        temperature: T > 0.
        margin: m in [0, 1].

    Returns:
        float32 ``[R, C]`` in [0, 1]; exactly 0, with gradient 0, inside the margin.
    """
    individual = torch.sigmoid(individual_logit / temperature)
    group = torch.sigmoid(group_logit / temperature)
    return F.relu((individual - group).abs() - margin).square()


def kl_divergence(individual_logit: Tensor, group_logit: Tensor, temperature: float) -> Tensor:
    """KL of the student from its teacher, both tempered Bernoulli: "w/ KL Loss" of Table 2.

    The paper says no more than "standard KL divergence"; here it stands where eq. 7 does, without
    a margin and without the factor T^2.

    Args:
        individual_logit: float32 ``[R, C]``, the teacher.
        group_logit: float32 ``[R, C]``, the student.
        temperature: T > 0.

    Returns:
        float32 ``[R, C]``: 0 at equal logits, else positive up to rounding, and unbounded.
    """
    individual, group = individual_logit / temperature, group_logit / temperature
    # log p = z - softplus(z) and log (1 - p) = -softplus(z): finite for any logit.
    normalisers = F.softplus(group) - F.softplus(individual)
    return torch.sigmoid(individual) * (individual - group) + normalisers


def qualification(
    individual_logit: Tensor, purchases: Tensor, theta_act: int, theta_conf: float
) -> Tensor:
    """The qualification gate g_qual: an active user and a confident teacher.

    Args:
        individual_logit: float32 ``[R, C]``.
        purchases: int64 ``[R]``, untruncated.
        theta_act: purchases needed, this number included.
        theta_conf: distance of the probability from one half needed, this number excluded.

    Returns:
        float32 ``[R, C]`` of 0 and 1, without gradient.
    """
    active = (purchases >= theta_act).unsqueeze(1)
    confident = (torch.sigmoid(individual_logit.detach()) - 0.5).abs() > theta_conf
    return (active & confident).to(individual_logit.dtype)


def distillation(
    individual_logit: Tensor,
    group_logit: Tensor,
    alpha_distill: Tensor,
    purchases: Tensor,
    config: LossConfig,
) -> Tensor:
    """Gated distillation from the individual to the group channel (eq. 9).

    The teacher is detached: a student must not drag its teacher (docs/model.md).

    Args:
        individual_logit: float32 ``[R, C]``, the teacher.
        group_logit: float32 ``[R, C]``, the student.
        alpha_distill: float32 ``[R, 1]``.
        purchases: int64 ``[R]``.
        config: T, m, the thresholds, and what an ablation changes.

    Returns:
        float32 ``[R, C]``.
    """
    teacher = individual_logit.detach()
    if config.divergence == "kl":
        lesson = kl_divergence(teacher, group_logit, config.temperature)
    else:
        lesson = margin_loss(teacher, group_logit, config.temperature, config.margin)
    if not config.gated:
        return lesson
    gate = qualification(teacher, purchases, config.theta_act, config.theta_conf)
    return gate * alpha_distill * lesson


def cross_entropy(logit: Tensor, label: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy (eq. 12).

    Args:
        logit: float32 ``[R, C]``.
        label: float32 ``[R, C]``.
        mask: float32 ``[R, C]`` of real candidates, or None for all.

    Returns:
        A scalar.
    """
    return mean(F.binary_cross_entropy_with_logits(logit, label, reduction="none"), mask)


def mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over real candidates: the 1/N of eq. 12.

    Args:
        values: float32 ``[R, C]``.
        mask: float32 ``[R, C]``, at least one of it 1; None for all.
    """
    return values.mean() if mask is None else (values * mask).sum() / mask.sum()


def total(
    prediction_loss: Tensor, aux: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Tensor:
    """The prediction's loss plus the weighted further losses (eq. 11).

    Args:
        prediction_loss: scalar, L_BCE.
        aux: scalars by name, L_KD among them.
        weights: weights by name; a loss of weight 0 or without weight is left out.

    Returns:
        A scalar.
    """
    for name, weight in weights.items():
        if weight:
            prediction_loss = prediction_loss + weight * aux[name]
    return prediction_loss
