"""The model card: every figure is one that was measured."""

import pytest

from offline.model_card import model_card
from tests.evaluations import EVALUATION

METRICS = {
    "gauc_low": 0.61234,
    "gauc_overall": 0.7,
    "gauc_levels": [0.1, 0.2, None, 0.4, 0.5],
    "rows_low": 12,
    "rows_overall": 30,
    "rows_levels": [6, 6, 6, 6, 6],
}
LINEAGE = {"provenance": "A made-up panel.", "event": "exposure", "seed": 7}


def test_figures_stand_in_their_columns() -> None:
    """Metrics appear by activity level, counts as counts, what was not measured as a dash."""
    card = model_card(3, LINEAGE, METRICS, 2e-7, EVALUATION)
    assert "| gauc | 0.6123 | 0.7000 | 0.1000 | 0.2000 | - | 0.4000 | 0.5000 |" in card
    assert "| rows | 12 | 30 | 6 | 6 | 6 | 6 | 6 |" in card
    assert "2.00e-07" in card


def test_a_card_without_figures_says_so() -> None:
    """No figure is ever invented."""
    assert "No figures were given." in model_card(3, {}, {}, 0.0, EVALUATION)
    assert "No provenance was given." in model_card(3, {}, {}, 0.0, EVALUATION)


@pytest.mark.parametrize(
    ("event", "words"), [("click", "a click on an item"), ("exposure", "an exposure of an item")]
)
def test_the_purpose_names_what_was_scored(event: str, words: str) -> None:
    """A model of exposures does not claim to be one of clicks."""
    assert words in model_card(3, {**LINEAGE, "event": event}, METRICS, 0.0, EVALUATION)


@pytest.mark.parametrize(
    ("alpha", "words", "warned"),
    [
        (0.25, "on qualified training rows: 0.25.", False),
        (0.0004, "on qualified training rows: 0.0004.", True),
        (None, "No training row was qualified", False),
    ],
)
def test_a_collapsed_distillation_is_no_secret(
    alpha: float | None, words: str, warned: bool
) -> None:
    """Who decides about the model reads what became of distillation, in words where it is dead."""
    card = model_card(3, {**LINEAGE, "alpha_distill": alpha}, METRICS, 0.0, EVALUATION)
    assert words in card
    assert ("**Warning**" in card) is warned


def test_provenance_is_quoted_and_the_rest_listed() -> None:
    """The data's provenance stands in its own words, every other source in the lineage."""
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION)
    assert card.count("A made-up panel.") == 1
    assert '"seed": 7' in card


def test_what_was_not_measured_is_told_as_such() -> None:
    """A control has its gain with interval and seeds, or the words that nobody measured it."""
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION)
    assert "- Over ChoirRec, permuted: not measured\n" in card
    assert "- Over DIN + activity: +1.00 % [-2.00, +4.00], 2 seeds\n" in card
