"""Eq. 10: the final logit weighs both channels by alpha_fusion."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.fusion import fuse
from model.losses import LossConfig
from model.network.choirrec import Channels, ChoirRec
from tests.synthetic import TINY, world

logits = st.floats(-30, 30, width=32)


@given(individual=logits, group=logits, alpha=st.floats(0, 1, width=32))
def test_training_and_serving_fuse_alike(individual: float, group: float, alpha: float) -> None:
    """(1 - alpha) z_ind + alpha z_group, in the model as in serving's fusion, and in between."""
    parts = [np.array([[value]], np.float32) for value in (individual, group, alpha)]
    served = fuse(*parts).fused_logit.item()
    trained = Channels(*(torch.from_numpy(part) for part in parts)).fused_logit.item()
    assert served == trained
    assert abs(served - ((1 - alpha) * individual + alpha * group)) <= 1e-5
    assert min(individual, group) - 1e-5 <= served <= max(individual, group) + 1e-5


def test_alpha_at_its_ends_gives_exactly_one_channel() -> None:
    """alpha_fusion 0 is the individual logit, 1 the group logit, to the bit."""
    drawn = world()
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig(), seed=1)
    for bias, channel in ((-1e9, "individual_logit"), (1e9, "group_logit")):
        with torch.no_grad():
            model.reliability.fusion.bias.fill_(bias)
        output = model(drawn.split.batch(np.arange(32)))
        assert torch.equal(output.logit, getattr(output, channel))
