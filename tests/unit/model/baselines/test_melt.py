"""MELT: heads teach, tails are helped, and training repeats."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.baselines.melt import FIRST_STAGE, WEIGHTS, Melt
from model.network.batch import Batch
from tests.baselines import contexts_of
from tests.synthetic import TINY, World, world

DRAWN = world()


def melt(drawn: World = DRAWN) -> Melt:
    """A fresh model."""
    return Melt(drawn.spec, TINY, drawn.lookups, contexts_of(drawn), seed=1)


def batch_of(rows: int = 100) -> Batch:
    """Rows of users with and without purchases."""
    return DRAWN.split.batch(np.arange(rows))


def moved(layer: torch.nn.Linear) -> None:
    """Let a layer that starts at zero say something."""
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(2))


def test_before_anything_is_transferred_it_is_din_with_a_user_vector() -> None:
    """With both transfers at zero the tower reads plain user vectors and plain items."""
    model, batch = melt().eval(), batch_of()
    inputs = model.tables.individual(batch)
    vector = model.user_vector(inputs["history"], inputs["history_mask"])
    further = [vector, vector.unsqueeze(1) * inputs["candidates"]]
    expected = model.individual(**inputs, further=further)
    model.refresh()
    torch.testing.assert_close(model(batch).logit, expected, atol=1e-6, rtol=0)


def test_head_users_are_left_as_they_are() -> None:
    """Only users at or under the threshold pass the transfer."""
    model = melt()
    moved(model.user_transfer)
    threshold = model.contexts.user_threshold
    vector = torch.randn(3, 17)
    found = model.helped(vector, torch.tensor([threshold, threshold + 1, 0]))
    assert torch.equal(found[1], vector[1])
    assert (found[[0, 2]] != vector[[0, 2]]).all()


def test_only_tail_items_are_corrected() -> None:
    """A correction changes the id part of tail items with a context, and nothing else."""
    model = melt()
    moved(model.item_transfer)
    rows = torch.arange(len(model.item_counts))
    before = model.tables.item_tokens(rows)
    model.refresh()
    change = model.tables.item_tokens(rows) - before
    counts = model.item_counts
    tail = (counts > 0) & (counts <= model.contexts.item_threshold)
    assert (change[:, : TINY.item_dim] != 0).any(dim=1).tolist() == tail.tolist()
    assert not change[:, TINY.item_dim :].any()
    assert tail.any()
    assert (~tail & (counts > 0)).any()


def test_an_items_own_id_is_no_part_of_its_context() -> None:
    """What is to be guessed cannot be read off: another id row gives the same guess."""
    model = melt()
    moved(model.item_transfer)
    contexts = model.contexts
    alone = next(event for event in contexts.events.tolist() if contexts.begins[event] == event)
    events = np.array([[alone]])
    first = model.guessed_ids(events).detach()
    row = model.tables.item_id_row[contexts.items[alone]]
    with torch.no_grad():
        model.tables.item.weight[row] += 1.0
    assert torch.equal(model.guessed_ids(events), first)


def test_the_first_stage_trains_without_transfer() -> None:
    """Losses of the transfers begin after 30 % of the steps, in training alone."""
    model, batch = melt(), batch_of()
    model.at(FIRST_STAGE - 0.01)
    assert (model(batch).aux, model.aux_weights(FIRST_STAGE - 0.01)) == ({}, {})
    model.at(FIRST_STAGE)
    assert set(model(batch).aux) == set(model.aux_weights(FIRST_STAGE)) == set(WEIGHTS)
    assert model.eval()(batch).aux == {}


def gradients(model: Melt, loss: Tensor) -> set[str]:
    """Names of the parameters that a loss moves."""
    model.zero_grad()
    torch.autograd.backward(loss)
    return {
        name
        for name, value in model.named_parameters()
        if value.grad is not None and value.grad.to_dense().any()
    }


def test_the_transfers_learn_from_their_own_losses_alone() -> None:
    """The prediction's loss leaves both transfers alone; each loss reaches its own."""
    model, batch = melt(), batch_of()
    moved(model.user_transfer)
    moved(model.item_transfer)
    model.at(0.5)
    output = model(batch)
    by_prediction = gradients(model, output.logit.sum())
    assert not {name for name in by_prediction if "transfer" in name}
    output = model(batch)
    assert "user_transfer.weight" in gradients(model, output.aux["user_transfer"])
    output = model(batch)
    assert "item_transfer.weight" in gradients(model, output.aux["item_transfer"])


def test_a_batch_without_heads_has_no_loss() -> None:
    """Nobody to learn from is no error and costs nothing."""
    model, batch = melt(), batch_of()
    model.at(0.5)
    unknown = torch.ones_like(batch.candidates)
    output = model(replace(batch, purchases=batch.purchases * 0, candidates=unknown))
    assert [float(loss.detach()) for loss in output.aux.values()] == [0.0, 0.0]


def test_fewer_purchases_than_a_head_user_has_are_shown() -> None:
    """Of every history the newest few are kept, fewer than the threshold."""
    mask = torch.tensor([[1.0, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]])
    for seed in range(20):
        torch.manual_seed(seed)
        kept = Melt._newest(mask, 4)
        assert kept.sum(dim=1).le(3).all()
        assert kept[0, 4] == kept[1, 1] == 1
        assert ((kept > 0) <= (mask > 0)).all()


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.7, 1.0])
def test_the_curriculum_turns_from_the_longest_to_the_shortest(progress: float) -> None:
    """Weights lie in [0, 1]; at the start the longest weighs 1, at the end the shortest."""
    model = melt()
    model.progress = progress
    weights = model._curriculum(torch.arange(0, 80), 40)
    assert (weights >= 0).all()
    assert (weights <= 1).all()
    if progress in (0.0, 1.0):
        assert int(weights.argmax()) == (40 if progress == 0.0 else 0)
        assert float(weights.max()) == pytest.approx(1.0)
