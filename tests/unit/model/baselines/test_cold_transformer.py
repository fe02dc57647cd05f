"""Cold-Transformer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.baselines.cold_transformer import ColdTransformer
from model.baselines.din import Din
from model.network.batch import BOUGHT, LEFT, PENDING, Batch
from tests.synthetic import TINY, World, world

ROWS = 64


def model_of(drawn: World) -> ColdTransformer:
    """A fresh model of a world."""
    return ColdTransformer(drawn.spec, TINY, drawn.lookups, seed=3)


def context(model: ColdTransformer, batch: Batch) -> torch.Tensor:
    """The context vectors of a batch."""
    return model.context(batch, model.tables.individual(batch))


def test_with_a_fresh_adaption_it_is_din() -> None:
    """The adaption starts as the identity: a fresh model answers as the DIN of its seed does."""
    drawn = world()
    batch = drawn.split.batch(np.arange(ROWS))
    found = model_of(drawn)(batch)
    expected = Din(drawn.spec, TINY, drawn.lookups, seed=3)(batch).logit
    torch.testing.assert_close(found.logit, expected, atol=1e-6, rtol=0)
    assert found.aux == {}


def test_outcomes_tell() -> None:
    """Other outcomes of the same clicks give another context, where there are clicks."""
    drawn = world()
    model, batch = model_of(drawn), drawn.split.batch(np.arange(ROWS))
    assert batch.click_outcomes is not None
    real = batch.click_outcomes > 0
    turned = torch.where(real, batch.click_outcomes % 3 + 1, 0)
    differs = (context(model, batch) != context(model, replace(batch, click_outcomes=turned))).any(
        1
    )
    assert torch.equal(differs, real.any(1))
    assert not real.any(1).all()


def test_a_pending_click_has_a_row_of_its_own() -> None:
    """A click of which nothing is known yet reads neither as bought nor as left."""
    rows = model_of(world()).behaviours.outcome.weight
    assert all(not torch.equal(rows[PENDING], rows[known]) for known in (LEFT, BOUGHT))


def test_the_order_of_clicks_tells() -> None:
    """The same clicks in another order are another context: places have rows."""
    drawn = world()
    model, batch = model_of(drawn), drawn.split.batch(np.arange(ROWS))
    items, ages, outcomes = clicks(batch)
    full = (items > 0).all(1)
    turned = replace(
        batch,
        click_items=items.flip(1),
        click_ages=ages.flip(1),
        click_outcomes=outcomes.flip(1),
    )
    assert full.any()
    assert (context(model, batch) != context(model, turned))[full].any()


def test_padding_does_not_matter() -> None:
    """Wider padding, at either end, changes no context: places count from the newest click."""
    drawn = world()
    model, batch = model_of(drawn), drawn.split.batch(np.arange(ROWS))
    expected = context(model, batch)
    for pad in ((0, 3), (3, 0)):
        items, ages, outcomes = (F.pad(part, pad) for part in clicks(batch))
        wider = replace(batch, click_items=items, click_ages=ages, click_outcomes=outcomes)
        torch.testing.assert_close(context(model, wider), expected, atol=1e-6, rtol=1e-5)


def test_more_clicks_than_places_are_read() -> None:
    """Clicks beyond the places with a row share the last one."""
    drawn = world()
    batch = drawn.split.batch(np.arange(ROWS))
    items, ages, outcomes = (part.repeat(1, 20) for part in clicks(batch))
    long = replace(batch, click_items=items, click_ages=ages, click_outcomes=outcomes)
    assert torch.isfinite(context(model_of(drawn), long)).all()


def test_clicks_change_the_answer_once_it_has_learnt() -> None:
    """After a step of training the clicks reach the logit."""
    drawn = world()
    model, batch = model_of(drawn), drawn.split.batch(np.arange(ROWS))
    torch.autograd.backward(F.binary_cross_entropy_with_logits(model(batch).logit, batch.label))
    torch.optim.Adagrad(model.adaption.out.parameters(), lr=0.1).step()
    bare = replace(batch, **dict.fromkeys(CLICKS, torch.zeros(ROWS, 1, dtype=torch.int64)))
    real = (clicks(batch)[0] > 0).any(1)
    differs = (model(batch).logit != model(bare).logit).squeeze(1)
    assert differs[real].all()
    torch.testing.assert_close(model(batch).logit[~real], model(bare).logit[~real])


def test_a_split_without_clicks_is_refused() -> None:
    """Without clicks the model would be DIN under another name, so it says what it needs."""
    drawn = world()
    batch = replace(drawn.split, clicks=None).batch(np.arange(4))
    with pytest.raises(ValueError, match="split with clicks"):
        model_of(drawn)(batch)


CLICKS = ("click_items", "click_ages", "click_outcomes")


def clicks(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Items, ages and outcomes of a batch's clicks."""
    items, ages, outcomes = (getattr(batch, name) for name in CLICKS)
    assert isinstance(items, torch.Tensor)
    return items, ages, outcomes
