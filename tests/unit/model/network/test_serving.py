"""What serving takes of a trained model."""

import numpy as np
import pytest
import torch

from model.assembly import GroupArrays, UserArrays
from model.losses import LossConfig
from model.network.choirrec import ChoirRec
from model.network.serving import AblatedModelError, graphs, serving_tables
from model.network.variants import VARIANTS, make_variant
from tests.synthetic import TINY, world

DRAWN = world()
MODEL = ChoirRec(DRAWN.spec, TINY, DRAWN.lookups, LossConfig(), seed=1)


def test_plain_tables_embed_as_the_model_does() -> None:
    """Serving's numpy look-ups give the graphs bit-equal inputs, rare ids included."""
    split = DRAWN.split
    rows = np.arange(len(split))
    contexts = split.row_context
    priors = split.group_index[contexts]
    users = UserArrays(**{name: value[contexts] for name, value in vars(split.users).items()})
    groups = GroupArrays(**{name: value[priors] for name, value in vars(split.groups).items()})
    tables = serving_tables(MODEL)
    served = {
        **tables.user_inputs(users),
        **tables.group_inputs(groups),
        "candidates": tables.item_tokens[split.row_item][:, None],
        "activity": users.activity,
    }
    embedded = MODEL.embed(split.batch(rows))
    assert set(served) == set(embedded)
    for name, expected in embedded.items():
        np.testing.assert_array_equal(served[name], expected.detach().numpy(), err_msg=name)


def test_graphs_take_the_documented_inputs_in_order() -> None:
    """The three graphs run on inputs named and shaped as the architecture says."""
    found = {graph.name: graph for graph in graphs(MODEL, DRAWN.spec, TINY)}
    assert list(found) == ["group_channel", "individual_channel", "reliability"]
    assert list(found["group_channel"].inputs) == [
        "group_codes",
        "group_attributes",
        "group_sequence",
        "group_mask",
        "candidates",
    ]
    assert list(found["individual_channel"].inputs) == [
        "user",
        "history",
        "history_mask",
        "candidates",
        "group_injection",
    ]
    group_logit, group_injection = found["group_channel"].module(
        *found["group_channel"].example(2, 3)
    )
    individual = found["individual_channel"].module(*found["individual_channel"].example(2, 3))
    alpha = found["reliability"].module(*found["reliability"].example(2, 3))
    assert group_logit.shape == individual.shape == (2, 3)
    assert group_injection.shape == (2, 3, TINY.injection_hidden)
    assert alpha.shape == (2, 1)


def test_the_group_graph_has_no_user_and_no_context_input() -> None:
    """Only the prior and the candidate enter the group graph, so its answer may be cached."""
    group = graphs(MODEL, DRAWN.spec, TINY)[0]
    assert {name for name in group.inputs if not name.startswith("group_")} == {"candidates"}


def test_graphs_give_what_the_model_gives() -> None:
    """Running the graphs one after the other is the model's own forward pass, but for rounding.

    The model reads each distinct prior once, a graph once per context.
    """
    batch = DRAWN.split.batch(np.arange(32))
    inputs = MODEL.embed(batch)
    group, individual, reliability = graphs(MODEL, DRAWN.spec, TINY)
    group_logit, inputs["group_injection"] = group.module(*[inputs[n] for n in group.inputs])
    individual_logit = individual.module(*[inputs[name] for name in individual.inputs])
    output = MODEL(batch)
    assert output.group_logit is not None
    assert output.individual_logit is not None
    torch.testing.assert_close(output.group_logit, group_logit, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(output.individual_logit, individual_logit, atol=1e-6, rtol=1e-5)
    assert torch.equal(output.alpha_fusion, reliability.module(inputs["activity"]))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "choirrec"])
def test_nothing_is_taken_from_an_ablated_model(name: str) -> None:
    """A model made to measure a part's worth cannot be served, and is told so in words."""
    variant = make_variant(name, DRAWN.spec, TINY, DRAWN.lookups, LossConfig(), seed=1)
    with pytest.raises(AblatedModelError, match="expected the whole ChoirRec"):
        graphs(variant, DRAWN.spec, TINY)
    with pytest.raises(AblatedModelError, match="expected the whole ChoirRec"):
        serving_tables(variant)
