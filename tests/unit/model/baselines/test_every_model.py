"""What every model promises, ChoirRec and baselines alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.losses import cross_entropy
from model.network.contract import ConversionModel
from tests.baselines import MODELS, Made
from tests.synthetic import TINY, world

every_model = pytest.mark.parametrize("made", MODELS.values(), ids=MODELS.keys())


@every_model
def test_models_of_one_seed_share_their_tables(made: Made) -> None:
    """The tables of every model start byte-equal, so comparisons use common random numbers."""
    drawn = world()
    expected = MODELS["din"](drawn, TINY, 7).state_dict()
    found = made(drawn, TINY, 7).state_dict()
    for name, value in expected.items():
        if name.startswith("tables."):
            assert torch.equal(found[name], value), name


@every_model
def test_a_model_is_a_function_of_its_seed(made: Made) -> None:
    """One seed gives equal parameters whatever was drawn before, another seed gives others."""
    drawn = world()
    first = made(drawn, TINY, 1).state_dict()
    torch.rand(3)
    again, other = made(drawn, TINY, 1).state_dict(), made(drawn, TINY, 2).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@every_model
def test_it_can_learn_64_rows_by_heart(made: Made) -> None:
    """300 steps on 64 rows bring the log loss under 0.05: gradients reach what matters."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
    drawn = world(rows=64, contexts=64)
    model = made(drawn, TINY, 1)
    batch = drawn.split.batch(np.arange(64))
    optimiser = torch.optim.Adagrad(model.parameters(), lr=0.05)
    loss = float("inf")
    for _ in range(300):
        optimiser.zero_grad()
        error = cross_entropy(model(batch).logit, batch.label, None)
        torch.autograd.backward(error)
        optimiser.step()
        loss = float(error.detach())
        if loss < 0.05:
            break
    assert loss < 0.05


@every_model
def test_nothing_known_of_a_user_still_trains_finitely(made: Made) -> None:
    """Unknown users without history, clicks, attributes or activity do no harm."""
    drawn = world()
    batch = drawn.split.batch(np.arange(64)).with_unknown_users(np.ones(64, bool))
    model = made(drawn, TINY, 1)
    output = model(batch)
    torch.autograd.backward([output.logit.mean(), *output.aux.values()])
    assert torch.isfinite(output.logit).all()
    for name, value in model.named_parameters():
        if value.grad is not None:
            gradient = value.grad.coalesce().values() if value.grad.is_sparse else value.grad
            assert torch.isfinite(gradient).all(), name


@every_model
def test_candidates_are_scored_alike_alone_and_together(made: Made) -> None:
    """C candidates of a context score as C rows of one candidate each."""
    drawn = world(rows=60, contexts=10)
    split = replace(drawn.split, row_context=np.repeat(np.arange(10), 6))
    rows, model = np.arange(60), stirred(made(drawn, TINY, 1))
    together = model(split.batch(rows.reshape(10, 6))).logit.reshape(-1)
    alone = model(split.batch(rows)).logit.reshape(-1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def stirred(model: ConversionModel) -> ConversionModel:
    """A model whose parameters that start at zero have left it."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator), alpha=0.1)
    return model
