"""The masked softmax."""

import torch

from model.network.masked_softmax import masked_softmax


def test_what_is_not_real_has_no_weight() -> None:
    """Real entries weigh as if they stood alone, whatever the others hold."""
    scores = torch.tensor([[1.0, 7.0, 2.0]])
    found = masked_softmax(scores, torch.tensor([[True, False, True]]))
    torch.testing.assert_close(found[:, [0, 2]], torch.softmax(scores[:, [0, 2]], dim=1))
    assert found[0, 1] == 0


def test_nothing_real_weighs_nothing() -> None:
    """Where nothing is real all weights are 0, and gradients stay finite."""
    scores = torch.zeros(2, 3, requires_grad=True)
    found = masked_softmax(scores, torch.zeros(2, 3, dtype=torch.bool))
    assert not found.any()
    torch.autograd.backward(found.sum())
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
