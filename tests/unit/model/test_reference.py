"""The reference sketch as a bundle carries it: read back as written, or refused in words."""

import json
from typing import Any

import numpy as np
import pytest

from model.reference import Histogram, MalformedReference, ReferenceSketch

SKETCH = ReferenceSketch(
    score={n: Histogram((0.1, 0.5), (3, 4, 5), 0.25) for n in range(1, 6)},
    alpha_fusion={n: Histogram((), (0,), None) for n in range(1, 6)},
)


def test_a_sketch_is_read_back() -> None:
    """A sketch survives its JSON, levels as numbers."""
    assert ReferenceSketch.from_json(SKETCH.to_json()) == SKETCH


def test_bins_hold_what_lies_between_their_edges() -> None:
    """Bin n holds values from edge n - 1 up to, not including, edge n."""
    values = np.array([0.0, 0.0999, 0.1, 0.49, 0.5, 1.0])
    assert SKETCH.score[1].bins(values).tolist() == [0, 0, 1, 1, 2, 2]
    assert SKETCH.score[1].total == 12


def changed(**fields: Any) -> str:
    """The sketch's JSON with members of one histogram replaced."""
    told = json.loads(SKETCH.to_json())
    told["score"]["2"] |= fields
    return json.dumps(told)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("{}", "KeyError: 'score'"),
        ("[]", "no reference sketch"),
        ("[" * 9**6, "RecursionError"),
        (json.dumps(json.loads(SKETCH.to_json()) | {"more": 1}), r"\['more'\] mean nothing"),
        (json.dumps({"score": {"1": {}}, "alpha_fusion": {}}), "score: levels .'1'., expected"),
        (changed(edges=[0.5, 0.1]), r"score.2: edges \[0.5, 0.1\] do not increase"),
        (changed(edges=[0.1, float("nan")]), "score.2: nan, expected a finite number"),
        (changed(mean="0.1"), "score.2: '0.1', expected a finite number"),
        (changed(counts=[3, 4]), "score.2: 2 counts for 2 edges, expected one more"),
        (changed(counts=[3, 4, -5]), r"score.2: counts \[3, 4, -5\], expected whole"),
        (changed(surplus=1), "unexpected keyword argument 'surplus'"),
        (changed(edges=list(range(99)), counts=[0] * 100), "100 counts for 99 edges"),
    ],
)
def test_a_malformed_sketch_is_refused_in_words(text: str, reason: str) -> None:
    """Whatever is wrong with a sketch is named with its place and value."""
    with pytest.raises(MalformedReference, match=reason):
        ReferenceSketch.from_json(text)
