"""POSO."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.baselines.din import Din
from model.baselines.poso import PersonalGate, Poso
from model.network.layers import initialise
from tests.synthetic import TINY, world


def test_with_fresh_gates_it_is_din() -> None:
    """Gates start at 1: a fresh POSO answers as the DIN of its seed does."""
    drawn = world()
    batch = drawn.split.batch(np.arange(64))
    expected = Din(drawn.spec, TINY, drawn.lookups, seed=3)(batch).logit
    for sequence_gate in (False, True):
        found = Poso(drawn.spec, TINY, drawn.lookups, 3, sequence_gate)(batch)
        torch.testing.assert_close(found.logit, expected, atol=1e-6, rtol=0)
        assert found.aux == {}


@given(scale=st.floats(-3, 3), activity=st.lists(st.floats(0, 10), min_size=5, max_size=5))
def test_factors_lie_between_nought_and_two(scale: float, activity: list[float]) -> None:
    """A gate can mute a unit or double it, never turn its sign."""
    gate = PersonalGate(5, 4)
    initialise(gate, seed=1)
    with torch.no_grad():
        gate.out.weight.fill_(scale / 10)
        gate.out.bias.fill_(scale)
    factors = gate(torch.tensor([activity]))
    assert factors.shape == (1, 1, 4)
    assert ((factors > 0) & (factors < 2)).all()


def test_a_gate_reads_activity_alone() -> None:
    """Gates differ by activity only, and give the embedding tables no gradient."""
    drawn = world()
    model = Poso(drawn.spec, TINY, drawn.lookups, seed=1)
    batch = drawn.split.batch(np.arange(32))
    gate = model.gates[0]
    assert isinstance(gate, PersonalGate)
    with torch.no_grad():
        gate.out.weight.normal_(generator=torch.Generator().manual_seed(1))
    quiet = replace(batch, activity=torch.zeros_like(batch.activity))
    assert len(gate(quiet.activity).unique(dim=0)) == 1
    assert len(gate(batch.activity).unique(dim=0)) > 1
    assert not torch.equal(model(quiet).logit, model(batch).logit)
    torch.autograd.backward(gate(batch.activity).sum())
    assert all(value.grad is None for value in model.tables.parameters())


def test_gates_add_a_small_network_per_hidden_layer() -> None:
    """Dense parameters over DIN's: activity -> 32 -> units, for each width of the tower."""
    drawn = world()
    din = Din(drawn.spec, TINY, drawn.lookups, seed=1).dense_parameters()
    poso = Poso(drawn.spec, TINY, drawn.lookups, seed=1).dense_parameters()
    assert poso - din == sum((5 * 32 + 32) + (32 * units + units) for units in TINY.tower)
