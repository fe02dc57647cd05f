"""ChoirRec without its second channel."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.baselines.din import Din
from model.network.config import widths
from model.network.single_channel import SingleChannel
from tests.synthetic import TINY, world

DRAWN = world()


def fresh() -> SingleChannel:
    """A model of one seed."""
    return SingleChannel(DRAWN.spec, TINY, DRAWN.lookups, 1)


@pytest.mark.parametrize(
    ("side", "column"),
    [
        *[("groups", name) for name in ("codes", "attributes", "continuous", "items", "ages")],
        *[("users", name) for name in ("user_row", "attributes", "context", "history_items")],
    ],
)
def test_one_tower_reads_group_and_user(side: str, column: str) -> None:
    """Every input of both channels decides the one logit."""
    model, split, rows = fresh(), DRAWN.split, np.arange(64)
    arrays = getattr(split, side)
    changed = replace(arrays, **{column: getattr(arrays, column)[::-1]})
    swapped = replace(split, **{side: changed})
    assert not torch.equal(model(swapped.batch(rows)).logit, model(split.batch(rows)).logit)


def test_nothing_of_the_second_channel_is_left() -> None:
    """No injection, no further loss, no channel logits, no alpha; the activity decides nothing."""
    model, batch = fresh(), DRAWN.split.batch(np.arange(64))
    output = model(batch)
    assert not output.aux
    assert not model.aux_weights(1.0)
    assert output.individual_logit is None
    assert output.group_logit is None
    assert output.alpha_fusion is None
    assert model.individual.injection is None
    assert torch.equal(model(replace(batch, activity=batch.activity + 1)).logit, output.logit)


def test_with_the_groups_columns_at_zero_it_is_din() -> None:
    """Beside what it reads of the group, the tower is DIN's."""
    din, model = Din(DRAWN.spec, TINY, DRAWN.lookups, 1), fresh()
    sizes = widths(DRAWN.spec, TINY)
    user, token, group = sizes.user, sizes.token, sizes.group_code + sizes.attributes
    own = [*range(user), *range(user + group, user + group + 2 * token)]
    matched = user + group + 3 * token
    own += range(matched, matched + token)
    first = model.individual.tower.first
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, own] = din.individual.tower.first.weight
    batch = DRAWN.split.batch(np.arange(64))
    torch.testing.assert_close(model(batch).logit, din(batch).logit, atol=1e-6, rtol=0)


def test_both_sequences_are_matched_with_the_candidate_field_by_field() -> None:
    """The shared weight of a field's dot product exists for the group's sequence as for the own."""
    first = fresh().individual.tower.first
    fields = len(widths(DRAWN.spec, TINY).fields)
    match = dict(first.named_parameters())["match"]
    assert match.shape == (TINY.tower[0], 2 * fields)
