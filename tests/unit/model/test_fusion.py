"""Fusion as the service runs it: stable at both ends, equal to the network's."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.fusion import Floats, fuse, sigmoid
from model.network.choirrec import Channels

shapes = st.tuples(st.integers(1, 3), st.integers(1, 5))
logits = st.floats(-80, 80, width=32)


@given(hnp.arrays(np.float32, shapes, elements=st.floats(-1000, 1000, width=32)))
def test_sigmoid_is_finite_everywhere(values: Floats) -> None:
    """The logistic function neither overflows nor leaves [0, 1], and is symmetric."""
    found = sigmoid(values)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found + sigmoid(-values), 1, atol=1e-6)
    np.testing.assert_allclose(found, torch.sigmoid(torch.from_numpy(values)), atol=1e-6)


@given(st.data(), shapes)
def test_fusion_equals_the_networks(data: st.DataObject, shape: tuple[int, int]) -> None:
    """What the service fuses is what training fused."""
    individual = data.draw(hnp.arrays(np.float32, shape, elements=logits))
    group = data.draw(hnp.arrays(np.float32, shape, elements=logits))
    alpha = data.draw(hnp.arrays(np.float32, (shape[0], 1), elements=st.floats(0, 1, width=32)))
    tensors = [torch.from_numpy(array) for array in (individual, group, alpha)]
    expected = Channels(*tensors).fused_logit.numpy()
    fused = fuse(individual, group, alpha)
    np.testing.assert_allclose(fused.fused_logit, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(fused.score, sigmoid(fused.fused_logit))
    assert fused.fused_logit.dtype == fused.score.dtype == np.float32


def test_one_alpha_serves_all_candidates_of_a_request() -> None:
    """Alpha depends on the user alone: one per request, over all its candidates."""
    individual = np.array([[1, 2, 3], [1, 2, 3]], np.float32)
    group = np.array([[5, 6, 7], [5, 6, 7]], np.float32)
    fused = fuse(individual, group, np.array([[0.25], [0.5]], np.float32))
    assert fused.fused_logit.tolist() == [[2, 3, 4], [3, 4, 5]]
