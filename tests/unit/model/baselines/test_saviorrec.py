"""SaviorRec: a frozen face of items, patched by codes that behaviour trains."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.baselines.saviorrec import CrossAttention, ModalItems, SaviorRec
from model.losses import cross_entropy
from tests.baselines import modal_of
from tests.synthetic import TINY, world

DRAWN = world()
VECTORS, CODES = modal_of(DRAWN)


def saviorrec() -> SaviorRec:
    """A fresh model."""
    return SaviorRec(DRAWN.spec, TINY, DRAWN.lookups, VECTORS, CODES, seed=1)


def one_step(model: SaviorRec, rows: int) -> None:
    """Train one step, as training does."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
    batch = DRAWN.split.batch(np.arange(rows))
    optimiser = torch.optim.Adagrad(model.parameters(), lr=0.05)
    torch.autograd.backward(cross_entropy(model(batch).logit, batch.label))
    optimiser.step()


def test_the_patch_starts_at_nothing() -> None:
    """At the first step an item's modal vector is the encoder's, to the bit."""
    model = saviorrec()
    rows = torch.arange(len(VECTORS)).view(4, -1)
    assert torch.equal(model.items(rows).detach(), torch.from_numpy(VECTORS)[rows])


def test_codes_of_items_seen_leave_zero_and_others_stay() -> None:
    """One step moves the rows of codes that the batch holds, and no other."""
    model = saviorrec()
    one_step(model, rows=3)
    batch = DRAWN.split.batch(np.arange(3))
    seen = np.union1d(batch.candidates, batch.history_items)
    unseen = 0
    for level in range(3):
        table = model.state_dict()[f"items.levels.{level}.weight"]
        moved = set(torch.nonzero(table.any(dim=1)).flatten().tolist())
        assert moved
        assert moved <= set(CODES[seen, level].tolist())
        unseen += len(table) - len(moved)
    assert unseen


def test_the_encoders_vectors_are_never_trained() -> None:
    """They are no parameters, need no place in a saved model, and stay as they were."""
    model = saviorrec()
    one_step(model, rows=32)
    assert not model.items.vectors.requires_grad
    assert not {name for name in model.state_dict() if name.endswith(("vectors", "items.codes"))}
    assert torch.equal(model.items.vectors, torch.from_numpy(VECTORS))


def parts(model: SaviorRec, behaviour: float, modal: float) -> tuple[Tensor, ...]:
    """What the tower reads beside DIN's inputs, when each face is changed by a factor."""
    batch = DRAWN.split.batch(np.arange(16))
    inputs = model.tables.individual(batch)
    inputs = {**inputs, "history": inputs["history"] * behaviour}
    candidates, history = model.items(batch.candidates), model.items(batch.history_items)
    return model.modal_parts(inputs, candidates, history * modal)


def test_without_the_cross_branches_the_faces_know_nothing_of_each_other() -> None:
    """The modal branch does not see behaviour; both cross branches see both faces."""
    model = saviorrec()
    plain, behaviour, modal = (parts(model, *by) for by in ((1, 1), (2, 1), (1, 2)))
    assert torch.equal(plain[2], behaviour[2])
    assert not torch.equal(plain[2], modal[2])
    for cross in (3, 4):
        assert not torch.equal(plain[cross], behaviour[cross])
        assert not torch.equal(plain[cross], modal[cross])


def test_an_empty_sequence_pools_to_nothing() -> None:
    """Without a real step every branch is the zero vector."""
    attention = CrossAttention(3)
    query, rows = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    assert not attention(query, rows, rows, torch.zeros(2, 5)).any()


def test_arrays_that_do_not_fit_are_refused() -> None:
    """Vectors and codes of other shapes or values are an error that says what was expected."""
    for vectors, codes, reason in (
        (VECTORS[:3], CODES, "one row per catalogue row"),
        (VECTORS, CODES - 9, "int64 from 0"),
        (np.full_like(VECTORS, np.nan), CODES, "finite"),
    ):
        with pytest.raises(ValueError, match=reason):
            ModalItems(vectors, codes)
