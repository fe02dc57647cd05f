"""An evaluation: read back as written, and refused with the member that is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation import SEGMENTS, Evaluation, Gain, MalformedEvaluation, SegmentFigures
from tests.evaluations import EVALUATION

Edit = Callable[[dict[str, Any]], object]
counts = st.integers(0, 2**53)
shares = st.none() | st.floats(0, 1)
sizes = st.none() | st.floats(0, allow_nan=False, allow_infinity=False)
finite = st.floats(allow_nan=False, allow_infinity=False)
figures = st.builds(
    SegmentFigures,
    rows=counts,
    users=counts,
    auc=shares,
    gauc=shares,
    gauc_error=sizes,
    logloss=sizes,
    pcoc=sizes,
)
gains = st.none() | st.builds(Gain, finite, st.none() | finite, st.none() | finite)


@given(segments=st.fixed_dictionaries(dict.fromkeys(SEGMENTS, figures)), low=gains, overall=gains)
def test_an_evaluation_is_read_back(
    segments: dict[str, SegmentFigures], low: Gain | None, overall: Gain | None
) -> None:
    """Whatever was measured, or could not be, says the same after writing and reading."""
    control = replace(EVALUATION.controls[0], low=low, overall=overall)
    evaluation = replace(EVALUATION, segments=segments, controls=(control,))
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_not_written(value: float) -> None:
    """A figure that is no number never reaches a file as one."""
    figures = replace(EVALUATION.segments["low"], gauc=value)
    with pytest.raises(ValueError, match="JSON compliant"):
        replace(EVALUATION, segments={"low": figures}).to_json()


def segment(**members: Any) -> Edit:
    """Replace members of the figures of low-activity users."""
    return lambda told: told["segments"]["low"].update(members)


def control(**members: Any) -> Edit:
    """Replace members of the control that was measured."""
    return lambda told: told["controls"][1].update(members)


def gain(**members: Any) -> Edit:
    """Replace members of that control's gain."""
    return lambda told: told["controls"][1]["low"].update(members)


def top(**members: Any) -> Edit:
    """Replace members of the whole."""
    return lambda told: told.update(members)


WRONG: dict[str, tuple[Edit, str]] = {
    "a member more": (top(surplus=1), "no evaluation of this format .*surplus.* export the bundle"),
    "a member less": (lambda told: told.pop("seed"), "no evaluation of this format .*seed"),
    "no segments": (lambda told: told.pop("segments"), "no evaluation of this format .*segments"),
    "segments is a list": (top(segments=[]), "no evaluation of this format"),
    "a segment less": (lambda told: told["segments"].pop("level_3"), "segments .*, expected"),
    "a segment more": (
        lambda told: told["segments"].update(level_6=told["segments"]["low"]),
        "'level_6'.*, expected",
    ),
    "a role of its own": (top(role="proof"), "role 'proof', expected one of"),
    "no data set": (top(dataset=""), "dataset '', expected a text"),
    "a data set of no name": (top(dataset=3), "dataset 3, expected a text"),
    "seeds is a text": (top(seeds="2"), "seeds '2', expected a whole number from 0"),
    "seeds is true": (top(seeds=True), "seeds True, expected a whole number from 0"),
    "fewer than no rows": (segment(rows=-1), "segments.low.rows -1, expected a whole number"),
    "GAUC above 1": (segment(gauc=1.5), "segments.low.gauc 1.5, expected a number of 0 to 1"),
    "GAUC is a text": (segment(gauc="0.5"), "segments.low.gauc '0.5', expected a finite number"),
    "GAUC is true": (segment(gauc=True), "segments.low.gauc True, expected a finite number"),
    "NaN": (segment(auc=float("nan")), "segments.low.auc nan, expected a finite number"),
    "beyond every float": (segment(pcoc=10**400), "segments.low.pcoc 1000.*expected a finite"),
    "a negative error": (
        segment(gauc_error=-0.1),
        "gauc_error -0.1, expected a number of 0 to inf",
    ),
    "a control of no title": (control(title=None), "controls.din_activity.title None, expected a"),
    "a gain of text": (control(low="much"), "no evaluation of this format"),
    "a gain of nothing": (gain(value=None), "din_activity.gain.value None, expected a finite"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named(kind: str) -> None:
    """Every kind of damage is told with the member, its value and what was expected."""
    edit, reason = WRONG[kind]
    told = json.loads(EVALUATION.to_json())
    edit(told)
    with pytest.raises(MalformedEvaluation, match=reason):
        Evaluation.from_json(json.dumps(told))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 10**5])
def test_what_is_no_evaluation_is_refused(text: str) -> None:
    """Any other text is refused in words, never with another exception."""
    with pytest.raises(MalformedEvaluation, match="no evaluation of this format"):
        Evaluation.from_json(text)


def test_a_gain_reads_as_percentages() -> None:
    """A person reads the same figure everywhere, and the lack of an interval is told."""
    assert str(Gain(0.0125, 0.0031, 0.0219)) == "+1.25 % [+0.31, +2.19]"
    assert str(Gain(-0.01, None, None)) == "-1.00 %, no interval"
