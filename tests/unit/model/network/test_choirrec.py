"""ChoirRec as a whole."""

from dataclasses import replace

import numpy as np
import torch

from model.assembly import GroupArrays
from model.baselines.din import Din
from model.losses import LossConfig
from model.network.batch import Split
from model.network.choirrec import ChoirRec
from model.network.contract import ConversionModel
from tests.synthetic import TINY, World, world


def choirrec(drawn: World, losses: LossConfig | None = None) -> ChoirRec:
    """A fresh ChoirRec of a world."""
    return ChoirRec(drawn.spec, TINY, drawn.lookups, losses or LossConfig(), seed=1)


def test_without_fusion_and_at_zero_injection_it_is_din() -> None:
    """With DIN's parameters, fresh injection and alpha 0, ChoirRec answers as DIN does."""
    drawn = world()
    din = Din(drawn.spec, TINY, drawn.lookups, seed=3)
    model = choirrec(drawn)
    unknown = model.load_state_dict(din.state_dict(), strict=False).unexpected_keys
    assert not unknown
    with torch.no_grad():
        model.reliability.fusion.bias.fill_(-1e9)
    batch = drawn.split.batch(np.arange(len(drawn.split)))
    expected = din(batch).logit
    output = model(batch)
    torch.testing.assert_close(output.individual_logit, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(output.logit, expected, atol=1e-6, rtol=0)


def test_two_users_of_one_prefix_get_the_same_group_logit() -> None:
    """The group logit of an item is a function of the prior alone, to the bit."""
    drawn = world()
    split = replace(drawn.split, group_index=np.full_like(drawn.split.group_index, 2))
    items = np.full(len(split), 7)
    output = choirrec(drawn)(replace(split, row_item=items).batch(np.arange(32)))
    assert output.group_logit is not None
    assert len(output.group_logit.unique()) == 1
    assert output.individual_logit is not None
    assert len(output.individual_logit.unique()) > 1


def test_identical_contexts_may_be_scored_one_by_one_or_together() -> None:
    """C candidates of a context score as C rows of one candidate each."""
    drawn = world(rows=60, contexts=10)
    context = np.repeat(np.arange(10), 6)
    split = replace(drawn.split, row_context=context)
    rows = np.arange(60)
    together = choirrec(drawn)(split.batch(rows.reshape(10, 6))).logit.reshape(-1)
    alone = choirrec(drawn)(split.batch(rows)).logit.reshape(-1)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def bare(split: Split) -> Split:
    """A split whose only group has one level-less prior: no code, attribute or item."""
    first = {name: value[:1] for name, value in vars(split.groups).items()}
    return replace(split, groups=GroupArrays(**first), group_index=np.zeros_like(split.group_index))


def models(drawn: World) -> list[ConversionModel]:
    """Every model of the contract."""
    return [choirrec(drawn, LossConfig.identified(3)), Din(drawn.spec, TINY, drawn.lookups, 1)]


def test_empty_everything_still_trains_finitely() -> None:
    """Unknown users without history, attributes or activity, in an empty group, do no harm."""
    drawn = world()
    batch = bare(drawn.split).batch(np.arange(64)).with_unknown_users(np.ones(64, bool))
    for model in models(drawn):
        output = model(batch)
        torch.autograd.backward([output.logit.mean(), *output.aux.values()])
        assert torch.isfinite(output.logit).all()
        for name, value in model.named_parameters():
            if value.grad is not None:
                gradient = value.grad.coalesce().values() if value.grad.is_sparse else value.grad
                assert torch.isfinite(gradient).all(), name


def test_padded_candidates_do_not_change_the_losses() -> None:
    """Masked candidates count in no loss and no diagnostic."""
    drawn = world(rows=60, contexts=10)
    split = replace(drawn.split, row_context=np.repeat(np.arange(10), 6))
    model = choirrec(drawn, LossConfig.identified(1))
    batch = split.batch(np.arange(60).reshape(10, 6))
    cut = split.batch(np.arange(60).reshape(10, 6)[:, :4])
    mask = torch.ones(10, 6)
    mask[:, 4:] = 0
    masked = model(replace(batch, candidate_mask=mask))
    for name, value in model(cut).aux.items():
        torch.testing.assert_close(masked.aux[name], value)


def test_dense_parameters_leave_the_tables_out() -> None:
    """The count of dense parameters does not grow with the vocabularies."""
    small, large = world(items=30), world(items=300)
    for first, second in zip(models(small), models(large), strict=True):
        assert first.dense_parameters() == second.dense_parameters()
    injection = 16 * 7 + (16 * 7 + 7) + (7 * 12 + 12)
    reliability = (5 * 6 + 6) + (6 * 4 + 4) + 2 * (4 + 1)
    group, din = choirrec(small).group, models(small)[1]
    channel = sum(value.numel() for value in group.parameters()) - 16 * 7
    expected = din.dense_parameters() + channel + injection + reliability
    assert choirrec(small).dense_parameters() == expected
