"""Prediction of a whole split."""

import numpy as np
import torch

from model.baselines.din import Din
from model.losses import LossConfig
from model.network import prediction
from model.network.choirrec import ChoirRec
from tests.synthetic import TINY, world

DRAWN = world(rows=300, contexts=40)


def test_predictions_stand_in_the_splits_order() -> None:
    """Scoring context by context gives each row what it gets when scored alone."""
    model = ChoirRec(DRAWN.spec, TINY, DRAWN.lookups, LossConfig(), seed=1)
    found = prediction.predict(model, DRAWN.split)
    with torch.no_grad():
        output = model(DRAWN.split.batch(np.arange(len(DRAWN.split))))
    np.testing.assert_allclose(found.logit, output.logit[:, 0].numpy(), atol=1e-6)
    assert found.individual_logit is not None
    assert found.group_logit is not None
    assert found.alpha_fusion is not None
    np.testing.assert_allclose(found.group_logit, output.group_logit[:, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(found.alpha_fusion, output.alpha_fusion[:, 0].numpy(), atol=1e-6)


def test_a_model_of_one_channel_has_no_channel_columns() -> None:
    """DIN predicts logits and nothing else."""
    found = prediction.predict(Din(DRAWN.spec, TINY, DRAWN.lookups, 1), DRAWN.split)
    assert found.logit.shape == (300,)
    assert found.individual_logit is None
    assert found.alpha_fusion is None
