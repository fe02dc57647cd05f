"""The variants of Table 2 by name."""

import numpy as np
import pytest
import torch

from model.losses import LossConfig, cross_entropy, margin_loss, mean, total
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig, widths
from model.network.variants import VARIANTS, make_variant, variant_sizes
from tests.synthetic import TINY, world

DRAWN = world()
LOSSES = LossConfig.identified(1)
ABLATED = [name for name in VARIANTS if name != "choirrec"]
every_variant = pytest.mark.parametrize("name", VARIANTS)


def fresh(name: str) -> ChoirRec:
    """A variant with two channels."""
    model = make_variant(name, DRAWN.spec, TINY, DRAWN.lookups, LOSSES, 1)
    assert isinstance(model, ChoirRec)
    return model


def numbers(module: torch.nn.Module) -> int:
    """How many values a module learns."""
    return sum(value.numel() for value in module.parameters())


@every_variant
def test_what_a_variant_shares_with_the_whole_model_starts_alike(name: str) -> None:
    """Common random numbers: values of one name and shape are byte-equal at step 0."""
    whole = fresh("choirrec").state_dict()
    model = make_variant(name, DRAWN.spec, TINY, DRAWN.lookups, LOSSES, 1)
    found = {key: value for key, value in model.state_dict().items() if key in whole}
    alike = [key for key, value in found.items() if value.shape == whole[key].shape]
    assert all(torch.equal(found[key], whole[key]) for key in alike)
    assert {key for key in whole if key.startswith("tables.")} <= set(alike)
    assert len(found) - len(alike) <= 2


@every_variant
def test_a_variant_learns_rows_by_heart(name: str) -> None:
    """Gradients reach what matters, whatever is taken away: 300 steps on 64 rows suffice."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
    drawn = world(rows=64, contexts=64)
    model = make_variant(name, drawn.spec, TINY, drawn.lookups, LOSSES, 1)
    batch = drawn.split.batch(np.arange(64))
    optimiser = torch.optim.Adagrad(model.parameters(), lr=0.05)
    loss = float("inf")
    for step in range(300):
        optimiser.zero_grad()
        output = model(batch)
        error = cross_entropy(output.logit, batch.label)
        torch.autograd.backward(total(error, output.aux, model.aux_weights(step / 300)))
        optimiser.step()
        loss = error.item()
        if loss < 0.05:
            break
    assert loss < 0.05


@pytest.mark.parametrize("name", ["no_distillation", "no_gates", "kl", "no_margin"])
def test_a_variant_of_the_losses_answers_as_the_whole_model(name: str) -> None:
    """Only what is learnt differs, not the network that learns it."""
    batch = DRAWN.split.batch(np.arange(64))
    assert torch.equal(fresh(name)(batch).logit, fresh("choirrec")(batch).logit)


def test_without_distillation_nothing_is_distilled_at_any_time() -> None:
    """Its weight is 0 after the warm-up too, and the channels keep their own losses."""
    weights = fresh("no_distillation").aux_weights(1.0)
    assert weights == {"distillation": 0.0, "individual": 0.1, "group": 0.1}
    assert fresh("choirrec").aux_weights(1.0)["distillation"] > 0


def test_without_gates_every_row_teaches_alike() -> None:
    """The distillation loss is the mean of eq. 7, and alpha_distill does not learn from it."""
    model, batch = fresh("no_gates"), DRAWN.split.batch(np.arange(64))
    output = model(batch)
    loss = output.aux["distillation"]
    expected = margin_loss(
        output.individual_logit, output.group_logit, LOSSES.temperature, LOSSES.margin
    )
    torch.testing.assert_close(loss, mean(expected))
    torch.autograd.backward(loss)
    assert loss > 0
    assert all(value.grad is None for value in model.reliability.distill.parameters())
    assert all(value.grad is None for value in model.individual.parameters())


def test_sizes_follow_from_what_is_taken() -> None:
    """Dense parameters fall by the layers that are gone; towers are not widened to make up."""
    sizes, parts = variant_sizes(DRAWN.spec, TINY, DRAWN.lookups), widths(DRAWN.spec, TINY)
    mid, post = TINY.tower[:2]
    code, levels, fields = parts.group_code, parts.levels, len(parts.fields)
    group_id = (levels - 1) * (2 * code * code + code) + (levels * code + 1) * code
    group_id += (code + 1) * code
    hidden, last = TINY.attention
    attention = hidden * (4 * parts.token + fields + 1) + last * (hidden + 1) + last + 1
    injection = TINY.injection_hidden * (2 * mid + 1) + post * (TINY.injection_hidden + 1)
    whole = sizes["choirrec"]
    assert list(sizes) == list(VARIANTS)
    assert whole == fresh("choirrec").dense_parameters()
    assert whole - sizes["no_group_id"] == group_id + mid * code
    assert whole - sizes["no_group_attributes"] == mid * parts.attributes
    assert whole - sizes["no_group_sequence"] == attention + mid * (2 * parts.token + fields)
    assert whole - sizes["no_injection"] == injection
    model = fresh("choirrec")
    later = numbers(model.group.tower) - numbers(model.group.tower.first)
    second_channel = mid * (parts.token + 1) + later + injection + numbers(model.reliability)
    assert whole - sizes["no_dual_channel"] == second_channel
    for name in ("no_distillation", "no_gates", "kl", "no_margin", "impute_individual"):
        assert sizes[name] == whole


def test_sizes_do_not_need_memory() -> None:
    """The count at the default sizes is that of a model really made."""
    config = NetworkConfig.spec()
    sizes = variant_sizes(DRAWN.spec, config, DRAWN.lookups)
    made = make_variant("no_dual_channel", DRAWN.spec, config, DRAWN.lookups, LOSSES, 1)
    assert sizes["no_dual_channel"] == made.dense_parameters()


def test_only_the_whole_model_is_not_ablated() -> None:
    """Whatever is taken or changed shows, so that it is never served by mistake."""
    assert not fresh("choirrec").ablated
    assert all(fresh(name).ablated for name in ABLATED if VARIANTS[name].channels == 2)


def test_an_unknown_variant_is_refused_with_the_known_ones() -> None:
    """A name that is none says which there are."""
    with pytest.raises(KeyError, match="no variant 'no_magic'; known: choirrec, no_group_id"):
        make_variant("no_magic", DRAWN.spec, TINY, DRAWN.lookups, LOSSES, 1)
