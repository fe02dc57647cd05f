"""Embedding tables: from ids to the rows that the graphs take."""

import numpy as np
import pytest
import torch

from model.assembly import Catalogue
from model.network.config import widths
from model.network.layers import initialise
from model.network.tables import EmbeddingTables, Lookups
from model.spec import OOV
from tests.synthetic import TINY, World, world


def tables_of(drawn: World) -> EmbeddingTables:
    """Initialised tables of a world."""
    tables = EmbeddingTables(drawn.spec, TINY, drawn.lookups)
    initialise(tables, seed=1)
    return tables


def catalogue(items: int, fields: int) -> Catalogue:
    """A catalogue whose items share their codes."""
    return Catalogue(np.arange(items, dtype=np.uint64), np.full((items, fields), 2, np.int32))


def test_a_token_is_the_id_row_then_the_rows_of_its_fields() -> None:
    """Item tokens are built as documented, in the order of the catalogue's fields."""
    drawn = world()
    tables = tables_of(drawn)
    row = 9
    codes = drawn.lookups.item_codes[row]
    fields = [*tables.categories.parameters(), *tables.side.parameters()]
    parts = [table[code] for table, code in zip(fields, codes, strict=True)]
    expected = torch.cat([tables.item.weight[drawn.lookups.item_id_row[row]], *parts])
    assert torch.equal(tables.item_tokens(torch.tensor([row]))[0], expected)
    assert expected.shape == (widths(drawn.spec, TINY).token,)


def test_padding_is_zero_and_an_unknown_item_has_only_its_id_part() -> None:
    """Row 0 is the zero token; row 1 is the out-of-vocabulary id without any field."""
    tables = tables_of(world())
    pad, unknown = tables.item_tokens(torch.tensor([0, OOV]))
    assert pad.abs().sum() == 0
    assert torch.equal(unknown[: TINY.item_dim], tables.item.weight[OOV])
    assert unknown[TINY.item_dim :].abs().sum() == 0


def test_padded_steps_are_zero_rows_with_mask_zero() -> None:
    """An empty history is all zero rows, whatever the tables hold."""
    drawn = world()
    tables = tables_of(drawn)
    inputs = tables.both(drawn.split.batch(np.arange(40)))
    for rows, mask in (("history", "history_mask"), ("group_sequence", "group_mask")):
        padded = inputs[mask] == 0
        assert padded.any()
        assert inputs[rows][padded].abs().sum() == 0


def test_rare_ids_share_the_out_of_vocabulary_row() -> None:
    """An item seen twice and a user bucket seen once lead to OOV; frequent ones keep their row."""
    drawn = world()
    rows = np.array([2, 2, 3, 3, 3])
    users = np.array([5, 6, 6])
    lookups = Lookups.count(drawn.spec, catalogue(30, 3), users, rows)
    assert lookups.item_id_row[:5].tolist() == [0, OOV, OOV, 3, OOV]
    assert lookups.user_id_row[[0, 5, 6]].tolist() == [0, OOV, 6]


def test_a_step_names_only_the_ids_it_used() -> None:
    """Id tables get sparse gradients without repeats: a step costs what its batch holds."""
    drawn = world()
    tables = tables_of(drawn)
    batch = drawn.split.batch(np.arange(8))
    torch.autograd.backward(
        [value.sum() for value in tables.both(batch).values() if value.requires_grad]
    )
    gradient = tables.item.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    used = np.unique(torch.cat([batch.candidates, batch.history_items, batch.group_items], dim=1))
    named = gradient._indices()[0]
    assert set(named.tolist()) <= set(drawn.lookups.item_id_row[used].tolist())
    assert len(named) <= len(used)


def test_item_vectors_start_the_id_rows() -> None:
    """Given vectors become the id rows, PAD stays zero, and another shape is refused."""
    drawn = world()
    tables = tables_of(drawn)
    vectors = np.ones(tuple(tables.item.weight.shape), np.float32)
    tables.init_item_vectors(vectors)
    assert tables.item.weight[0].abs().sum() == 0
    assert bool((tables.item.weight[1:] == 1).all())
    with pytest.raises(ValueError, match="expected"):
        tables.init_item_vectors(vectors[:, 1:])


def test_padding_never_learns() -> None:
    """Row 0 of every table gets no gradient, even from inputs that use it."""
    tables = tables_of(world())
    rows = torch.tensor([[0, 3], [3, 3]])
    torch.autograd.backward(tables.age(rows).sum())
    gradient = tables.age.weight.grad
    assert gradient is not None
    assert gradient[0].abs().sum() == 0
    assert bool((gradient[3] == 3).all())


def test_lookups_of_one_item_many_times_sum_their_gradients() -> None:
    """Reading each distinct item once learns what reading it at every place would."""
    drawn = world()
    batch = drawn.split.batch(np.arange(20))
    ours, plain = tables_of(drawn), tables_of(drawn)
    torch.autograd.backward(ours.individual(batch)["history"].square().sum())
    tokens = plain.item_tokens(batch.history_items.flatten()).view(*batch.history_items.shape, -1)
    torch.autograd.backward((tokens + plain.age(batch.history_ages)).square().sum())
    for name, value in ours.named_parameters():
        expected = plain.get_parameter(name).grad
        assert (value.grad is None) == (expected is None), name
        if value.grad is not None and expected is not None:
            torch.testing.assert_close(value.grad.to_dense(), expected.to_dense())
