"""Eq. 12: the mean binary cross-entropy over samples."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses import cross_entropy

rows = st.lists(st.tuples(st.floats(-15, 15, width=32), st.booleans()), min_size=1, max_size=20)


@given(rows=rows)
def test_cross_entropy_follows_the_formula(rows: list[tuple[float, bool]]) -> None:
    """-1/N sum(y log p + (1 - y) log(1 - p)) with p = sig(z), written out row by row."""
    found = cross_entropy(
        torch.tensor([[logit] for logit, _ in rows]),
        torch.tensor([[float(label)] for _, label in rows]),
    )
    terms = [math.log1p(math.exp(-logit if label else logit)) for logit, label in rows]
    assert math.isclose(found.item(), sum(terms) / len(terms), rel_tol=1e-4, abs_tol=1e-6)


@given(rows=rows, padding=st.integers(1, 5))
def test_padded_candidates_do_not_count(rows: list[tuple[float, bool]], padding: int) -> None:
    """N counts real candidates alone: padding changes nothing, whatever stands in it."""
    logit = torch.tensor([[logit for logit, _ in rows]])
    label = torch.tensor([[float(label) for _, label in rows]])
    padded = torch.nn.functional.pad(logit, (0, padding), value=9.0)
    labels = torch.nn.functional.pad(label, (0, padding))
    mask = torch.nn.functional.pad(torch.ones_like(logit), (0, padding))
    torch.testing.assert_close(cross_entropy(padded, labels, mask), cross_entropy(logit, label))
