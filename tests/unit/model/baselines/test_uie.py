"""UIE: centres follow what they are shown, and only they do."""

import numpy as np
import torch
from torch import Tensor

from model.baselines.uie import NEAREST, UNUSED_STEPS, WEIGHTS, Memory, Uie
from tests.synthetic import TINY, world

DRAWN = world()


def uie() -> Uie:
    """A fresh model."""
    return Uie(DRAWN.spec, TINY, DRAWN.lookups, seed=1)


def memory(centres: int = 12) -> Memory:
    """A memory of 5-d centres for candidates of width 3."""
    made = Memory(5, 3, centres)
    torch.nn.init.normal_(made.centres.weight, generator=torch.Generator().manual_seed(1))
    return made


def moved(model: Uie, loss: Tensor) -> set[str]:
    """Names of the parameters that a loss moves."""
    torch.autograd.backward(loss)
    return {
        name
        for name, value in model.named_parameters()
        if value.grad is not None and value.grad.to_dense().any()
    }


def test_the_clustering_loss_moves_centres_alone() -> None:
    """No table, tower or attention is shaped by it."""
    model = uie()
    loss = model(DRAWN.split.batch(np.arange(64))).aux["clustering"]
    views = ("profile", "consumption", "sequence")
    assert moved(model, loss) == {f"{view}.centres.weight" for view in views}


def test_the_auxiliary_tower_leaves_the_tables_alone() -> None:
    """The auxiliary loss trains its two towers on rows that the base model shapes."""
    model = uie()
    loss = model(DRAWN.split.batch(np.arange(64))).aux["auxiliary"]
    assert {name.split(".")[0] for name in moved(model, loss)} == {"user_tower", "item_tower"}


def test_further_losses_belong_to_training() -> None:
    """Prediction computes none and changes no memory."""
    model = uie()
    batch = DRAWN.split.batch(np.arange(32))
    output = model(batch)
    assert set(output.aux) == set(model.aux_weights(0.5)) == set(WEIGHTS)
    assert set(output.diagnostics) == {
        f"use_of_{n}" for n in ("profile", "consumption", "sequence")
    }
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert model.eval()(batch).aux == {}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_centres_that_point_elsewhere_add_nothing() -> None:
    """All similarities negative: the zero vector, with finite gradients."""
    made = memory()
    made.centres.weight.data.abs_()
    vector = torch.full((2, 5), -1.0, requires_grad=True)
    read = made(vector, torch.randn(2, 4, 3))
    assert read.shape == (2, 4, 5)
    assert not read.any()
    torch.autograd.backward(read.sum())
    assert vector.grad is not None
    assert torch.isfinite(vector.grad).all()


def test_a_memory_smaller_than_what_is_read_is_read_whole() -> None:
    """Fewer centres than are asked for are no error."""
    few = memory(NEAREST - 7)
    assert few(torch.randn(2, 5), torch.randn(2, 4, 3)).shape == (2, 4, 5)


def test_the_nearest_weigh_most() -> None:
    """A vector along one of two orthogonal centres is enhanced along it."""
    made = Memory(2, 3, 2)
    with torch.no_grad():
        made.centres.weight.copy_(torch.eye(2))
    own = made(torch.tensor([[9.0, 1.0]]), torch.zeros(1, 1, 3))[0, 0]
    assert own[0] > own[1] > 0


def test_unused_centres_start_anew_as_something_shown() -> None:
    """A centre far from everything becomes a row of the batch after its time, not before."""
    made = memory()
    with torch.no_grad():
        made.centres.weight[3] = -50.0
    shown = torch.rand(40, 5) + 0.1
    for _ in range(UNUSED_STEPS):
        made.clustering(shown)
    assert (made.centres.weight[3] == -50.0).all()
    made.clustering(shown)
    assert (made.centres.weight[3] == shown).all(dim=1).any()
    assert made.unused.max() <= 1


def test_use_is_even_when_every_centre_is_used_alike() -> None:
    """The entropy logged is 1 for even use, 0 for one centre, undefined for nothing shown."""
    made = Memory(2, 3, 2)
    with torch.no_grad():
        made.centres.weight.copy_(torch.eye(2))
    assert made.clustering(torch.eye(2))[1] == 1.0
    assert made.clustering(torch.eye(2)[:1])[1] == 0.0
    distance, use = made.clustering(torch.zeros(0, 2))
    assert (float(distance.detach()), bool(use.isnan())) == (0.0, True)


def test_short_histories_gain_a_step_per_purchase() -> None:
    """Each purchase is followed by its nearest centre; an empty history stays empty."""
    model = uie()
    inputs = model.tables.individual(DRAWN.split.batch(np.arange(64)))
    longer = model.lengthened(inputs)
    before, after = inputs["history_mask"].sum(dim=1), longer["history_mask"].sum(dim=1)
    assert torch.equal(longer["history"][:, ::2], inputs["history"])
    assert ((after >= before) & (after <= 2 * before)).all()
    assert (after > before).any()
    assert not longer["history"][longer["history_mask"] == 0].any()
