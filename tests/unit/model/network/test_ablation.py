"""Ablations of the network: each takes exactly what it names."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses import LossConfig
from model.network.ablation import FULL, Ablation, imputed
from model.network.batch import Batch
from model.network.choirrec import ChoirRec
from model.network.config import widths
from model.spec import PAD
from tests.synthetic import TINY, world

DRAWN = world()
SIZES = widths(DRAWN.spec, TINY)
GROUP_INPUTS = {
    "group_id": (Ablation(group_id=False), SIZES.group_code, ("codes",)),
    "group_attributes": (
        Ablation(group_attributes=False),
        SIZES.attributes,
        ("attributes", "continuous"),
    ),
    "group_sequence": (
        Ablation(group_sequence=False),
        2 * SIZES.token,
        ("items", "ages"),
    ),
}
each_group_input = pytest.mark.parametrize("part", GROUP_INPUTS)


def made(ablation: Ablation = FULL) -> ChoirRec:
    """A fresh model of one seed whose injection has left zero, where it has one."""
    model = ChoirRec(DRAWN.spec, TINY, DRAWN.lookups, LossConfig(), 1, ablation)
    if model.individual.injection is not None:
        with torch.no_grad():
            model.individual.injection.out.weight.fill_(0.1)
    return model


def rows(reversed_columns: tuple[str, ...] = ()) -> Batch:
    """A batch of the world; some columns of its priors are those of other priors."""
    groups = DRAWN.split.groups
    columns = {name: getattr(groups, name)[::-1] for name in reversed_columns}
    return replace(DRAWN.split, groups=replace(groups, **columns)).batch(np.arange(64))


def idle(model: ChoirRec) -> set[str]:
    """Parameters of the group channel that no row teaches."""
    torch.autograd.backward(model(rows()).logit.sum())
    return {name for name, value in model.group.named_parameters() if value.grad is None}


def group_logit(model: ChoirRec, batch: Batch) -> torch.Tensor:
    """The group channel's answer."""
    answer = model(batch).group_logit
    assert answer is not None
    return torch.as_tensor(answer)


@each_group_input
def test_a_dropped_input_narrows_the_group_tower_by_its_width(part: str) -> None:
    """Nothing is fed in its place: the first layer loses just its columns."""
    ablation, width, _ = GROUP_INPUTS[part]
    whole, less = made().group.tower.first, made(ablation).group.tower.first
    assert less.weight.shape == (TINY.tower[0], whole.weight.shape[1] - width)


@each_group_input
def test_a_dropped_input_decides_nothing_and_the_others_still_do(part: str) -> None:
    """Other values of the dropped input give the very same answer; of any other input another."""
    model = made(GROUP_INPUTS[part][0])
    expected = group_logit(model, rows())
    for other, (_, _, columns) in GROUP_INPUTS.items():
        changed = group_logit(model, rows(columns))
        assert torch.equal(changed, expected) == (other == part), other


@each_group_input
def test_a_dropped_input_has_no_layer(part: str) -> None:
    """No parameter of the group channel is left idle: what learns in the whole model learns."""
    assert idle(made(GROUP_INPUTS[part][0])) <= idle(made())


def test_without_any_group_input_there_is_no_model() -> None:
    """A group channel that knows no group is refused, not trained."""
    with pytest.raises(ValueError, match="expected one of them at least"):
        Ablation(group_id=False, group_attributes=False, group_sequence=False)


def test_without_injection_it_starts_as_the_whole_model_does() -> None:
    """At step 0 the whole model's injection is zero, so both give the same bytes."""
    whole = ChoirRec(DRAWN.spec, TINY, DRAWN.lookups, LossConfig(), 1)
    less = ChoirRec(DRAWN.spec, TINY, DRAWN.lookups, LossConfig(), 1, Ablation(injection=False))
    assert torch.equal(whole(rows()).logit, less(rows()).logit)
    assert not torch.equal(made()(rows()).logit, less(rows()).logit)


def test_without_injection_the_individual_channel_knows_no_group() -> None:
    """Another prior changes the group logit alone."""
    model, batch = made(Ablation(injection=False)), rows()
    changed = rows(tuple(name for _, _, columns in GROUP_INPUTS.values() for name in columns))
    one, other = model(batch), model(changed)
    assert torch.equal(one.individual_logit, other.individual_logit)
    assert not torch.equal(one.group_logit, other.group_logit)
    whole = made()
    assert not torch.equal(whole(batch).individual_logit, whole(changed).individual_logit)


@given(st.integers(0, 2**32 - 1))
def test_substitution_fills_what_is_missing_and_nothing_else(seed: int) -> None:
    """A missing field takes the group's value and flag, a given one stays; twice is once."""
    batch = world(seed=seed % 1000, rows=40, contexts=20).split.batch(np.arange(40))
    filled = imputed(batch)
    absent = batch.attributes == PAD
    assert torch.equal(filled.attributes[~absent], batch.attributes[~absent])
    assert torch.equal(filled.attributes[absent], batch.group_attributes[absent])
    assert torch.equal(imputed(filled).attributes, filled.attributes)
    flags = batch.continuous[:, 1:] == 1
    given_one = ~flags.squeeze(1)
    assert torch.equal(filled.continuous[given_one], batch.continuous[given_one])
    assert torch.equal(filled.continuous[~given_one], batch.group_continuous[~given_one])
    same = ("user_row", "context", "history_items", "activity", "purchases", "group_attributes")
    assert all(getattr(filled, name) is getattr(batch, name) for name in same)


def test_substitution_is_the_whole_model_on_filled_attributes() -> None:
    """It changes the individual channel's inputs and nothing else of the model."""
    batch, substituted = rows(), made(Ablation(impute_individual=True))
    found, expected = substituted(batch), made()(imputed(batch))
    assert torch.equal(found.individual_logit, expected.individual_logit)
    assert torch.equal(found.group_logit, made()(batch).group_logit)
    complete = ~(batch.attributes == PAD).any(1) & (batch.continuous[:, 1] == 0)
    same = (found.individual_logit == made()(batch).individual_logit).squeeze(1)
    assert same[complete].all()
    assert not same[~complete].all()


def test_a_hidden_user_gets_the_groups_attributes() -> None:
    """An unknown user's attributes are all missing, so all of them are the group's."""
    hidden = rows().with_unknown_users(np.ones(64, bool))
    assert torch.equal(imputed(hidden).attributes, hidden.group_attributes)
    assert torch.equal(imputed(hidden).continuous, hidden.group_continuous)
