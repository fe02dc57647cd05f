"""The comparison as an operator reads it."""

from typing import Any

import numpy as np

from service.comparison.counts import ComparisonReport, ComparisonTally
from service.comparison.differences import Difference
from service.comparison.summary import summary
from service.lifecycle.states import TargetState
from service.operating.comparison_table import comparison_text

GUARD = {
    "canary": "2/g",
    "champion": "1/g",
    "windows": 4,
    "calls": {"canary": 120, "champion": 900, "least": 500},
    "unjudged": ["reference.json of model version 2: gone"],
}


def _found(tally: ComparisonTally, state: TargetState) -> dict[str, Any]:
    report = ComparisonReport(
        champion="1/g",
        challenger="2/g",
        since_s=1.0,
        targets=(state,),
        outcomes=tally.outcomes,
        levels=tally.levels,
        seconds={side: tuple(counts) for side, counts in tally.seconds.items()},
    )
    return {"comparisons": {"shadow": [summary(report)]}, "guard": GUARD}


def test_figures_stand_by_level_with_their_names() -> None:
    """One line per level and one for all, under heads that say what they are."""
    tally = ComparisonTally()
    found = Difference(np.array([0.1, 0.1]), 0.5, True, 0.25)
    tally.compared(1, found, {"champion": 0.001, "challenger": 0.002})
    text = comparison_text(_found(tally, TargetState(version=2, generation="g", state="active")))
    assert "shadow 2/g beside champion 1/g" in text
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("level"))
    assert "rank correlation" in head
    level = next(line for line in lines if line.startswith("1 "))
    assert "100.0 %" in level
    assert "25.0 %" in level
    assert "+1.00e-01" in level
    assert any(line.startswith("all ") for line in lines)
    assert "4 windows of 2/g without a fault" in text
    assert "drift and alpha_fusion are NOT judged: reference.json of model version 2" in text


def test_target_that_failed_is_told_with_its_reason() -> None:
    """An operator who waits for figures learns why there are none."""
    state = TargetState(version=2, generation="g", state="failed", reason="no memory")
    text = comparison_text(_found(ComparisonTally(), state))
    assert "2/g is failed: no memory" in text
    assert "level" not in text.splitlines()[-2]


def test_nothing_to_compare_says_what_would_begin_it() -> None:
    """The command never prints nothing."""
    text = comparison_text({"comparisons": {}, "guard": None})
    assert "a canary or a shadow begins a comparison" in text


def test_comparison_that_has_just_begun_is_not_a_pair_without_names() -> None:
    """Before the comparison knows its targets, that is said."""
    begun = summary(ComparisonReport(champion="", challenger="", since_s=1.0))
    text = comparison_text({"comparisons": {"canary": [begun]}, "guard": None})
    assert text == (
        "canary: a replica's comparison has just begun, and does not know its targets yet"
    )
