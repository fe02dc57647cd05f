"""The controls: DIN with ChoirRec's inputs, without groups."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.baselines.din import Din
from model.baselines.matched_din import MatchedDin, Vectors
from tests.synthetic import TINY, World, world


def vectors(drawn: World, width: int = 9) -> Vectors:
    """One random vector per user of a world, row 0 zero."""
    users = int(drawn.split.context_user.max()) + 1
    drawn_vectors = np.random.default_rng(1).normal(size=(users + 1, width))
    drawn_vectors[0] = 0.0
    return drawn_vectors.astype(np.float32)


def test_without_weight_on_what_it_adds_it_is_din() -> None:
    """The control is DIN but for the columns of activity and user vector."""
    drawn = world()
    din = Din(drawn.spec, TINY, drawn.lookups, seed=3)
    model = MatchedDin(drawn.spec, TINY, drawn.lookups, 3, vectors(drawn))
    first, plain = model.individual.tower.first, din.individual.tower.first
    state = {**model.state_dict(), **din.state_dict()}
    name = "individual.tower.first.weight"
    user, added = plain.parts[0], torch.zeros(TINY.tower[0], sum(first.parts) - sum(plain.parts))
    state[name] = torch.cat([plain.weight[:, :user], added, plain.weight[:, user:]], dim=1)
    model.load_state_dict(state)
    batch = drawn.split.batch(np.arange(64))
    torch.testing.assert_close(model(batch).logit, din(batch).logit, atol=1e-6, rtol=0)


def test_activity_reaches_the_answer() -> None:
    """Two users who differ in nothing but activity may be told apart."""
    drawn = world()
    batch = drawn.split.batch(np.arange(32))
    model = MatchedDin(drawn.spec, TINY, drawn.lookups, seed=1)
    other = replace(batch, activity=batch.activity + 1.0)
    assert not torch.equal(model(batch).logit, model(other).logit)
    assert model(batch).aux == {}


def test_a_user_vector_belongs_to_its_user() -> None:
    """Another vector in one user's row changes the answers of that user alone."""
    drawn = world()
    rows = np.arange(64)
    batch, table = drawn.split.batch(rows), vectors(drawn)
    user = int(batch.user_number[0])
    changed = table.copy()
    changed[user] += 1.0
    first, second = (
        MatchedDin(drawn.spec, TINY, drawn.lookups, 1, given)(batch).logit[:, 0]
        for given in (table, changed)
    )
    assert torch.equal(first != second, batch.user_number == user)


def test_user_vectors_are_never_trained_nor_saved() -> None:
    """They belong to the encoder: no gradient, no place among a model's parameters."""
    drawn = world()
    model = MatchedDin(drawn.spec, TINY, drawn.lookups, 1, vectors(drawn))
    assert not any("vectors.vectors" in name for name in model.state_dict())
    torch.autograd.backward(model(drawn.split.batch(np.arange(32))).logit.sum())
    assert model.user_vectors is not None
    assert not model.user_vectors.vectors.requires_grad
    assert model.user_vectors.projection.weight.grad is not None


def test_an_unknown_user_has_the_zero_vector() -> None:
    """Row 0 projects to nought, whatever training made of the projection."""
    drawn = world()
    model = MatchedDin(drawn.spec, TINY, drawn.lookups, 1, vectors(drawn))
    assert model.user_vectors is not None
    assert not model.user_vectors(torch.zeros(3, dtype=torch.int64)).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(3, np.float32), "users \\+ 1"),
        (np.zeros((3, 2)), "float64"),
        (np.ones((3, 2), np.float32), "row 0"),
        (np.array([[0.0], [np.nan]], np.float32), "finite"),
    ],
)
def test_vectors_of_another_form_are_refused(given: Vectors, message: str) -> None:
    """Shape, type, the unknown user's row and finite values are checked before training."""
    drawn = world()
    with pytest.raises(ValueError, match=message):
        MatchedDin(drawn.spec, TINY, drawn.lookups, 1, given)
