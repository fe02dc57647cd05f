"""Eq. 11: the loss is the prediction's cross-entropy plus lambda times distillation."""

import numpy as np
import torch

from model.losses import LossConfig, cross_entropy, total
from model.network.choirrec import ChoirRec
from tests.synthetic import TINY, world


def losses(config: LossConfig, progress: float) -> tuple[float, float, dict[str, float]]:
    """Total loss, L_BCE and the further losses of a model with much to distil."""
    drawn = world()
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, config, seed=1)
    with torch.no_grad():
        model.individual.tower.out.bias.fill_(-4.0)
    batch = drawn.split.batch(np.arange(64))
    output = model(batch)
    prediction = cross_entropy(output.logit, batch.label)
    loss = total(prediction, output.aux, model.aux_weights(progress))
    return loss.item(), prediction.item(), {name: v.item() for name, v in output.aux.items()}


def test_literal_loss_is_cross_entropy_plus_weighted_distillation() -> None:
    """L = L_BCE + lambda L_KD and nothing else, lambda 0.005 by default."""
    assert LossConfig().distillation_weight == 0.005
    config = LossConfig(theta_act=1, margin=0.0, distillation_weight=0.5)
    loss, prediction, further = losses(config, progress=1.0)
    assert further["distillation"] > 0
    np.testing.assert_allclose(loss, prediction + 0.5 * further["distillation"], rtol=1e-6)


def test_identified_loss_adds_each_channels_own_cross_entropy() -> None:
    """The identified preset adds 0.1 times the cross-entropy of either channel's logit."""
    loss, prediction, further = losses(LossConfig.identified(theta_act=1), progress=0.0)
    expected = prediction + 0.1 * (further["individual"] + further["group"])
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_distillation_waits_for_its_warm_up() -> None:
    """In the first tenth of the steps the teacher is random: distillation does not count."""
    config = LossConfig(theta_act=1, margin=0.0)
    loss, prediction, further = losses(config, progress=0.05)
    assert further["distillation"] > 0
    assert loss == prediction
