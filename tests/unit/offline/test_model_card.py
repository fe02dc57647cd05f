"""The model card: every figure is one that was measured."""

import pytest
import yaml

from model.reference import Histogram, ReferenceSketch
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
SKETCH = ReferenceSketch(
    score={level: Histogram((), (9,), 0.1) for level in range(1, 6)},
    alpha_fusion={level: Histogram((), (9,), 0.9 - level / 10) for level in range(1, 6)},
)
LINEAGE = {"provenance": "A made-up panel.", "event": "exposure", "seed": 7}


def test_figures_stand_in_their_columns() -> None:
    """Metrics appear by activity level, counts as counts, what was not measured as a dash."""
    card = model_card(3, LINEAGE, METRICS, 2e-7, EVALUATION, SKETCH)
    assert "| gauc | 0.6123 | 0.7000 | 0.1000 | 0.2000 | - | 0.4000 | 0.5000 |" in card
    assert "| rows | 12 | 30 | 6 | 6 | 6 | 6 | 6 |" in card
    assert "2.00e-07" in card


def test_a_card_without_figures_says_so() -> None:
    """No figure is ever invented."""
    assert "No figures were given." in model_card(3, {}, {}, 0.0, EVALUATION, SKETCH)
    assert "No provenance was given." in model_card(3, {}, {}, 0.0, EVALUATION, SKETCH)


@pytest.mark.parametrize(
    ("event", "words"), [("click", "a click on an item"), ("exposure", "an exposure of an item")]
)
def test_the_purpose_names_what_was_scored(event: str, words: str) -> None:
    """A model of exposures does not claim to be one of clicks."""
    assert words in model_card(3, {**LINEAGE, "event": event}, METRICS, 0.0, EVALUATION, SKETCH)


@pytest.mark.parametrize(
    ("groups", "words"), [("aligned", "likely to buy alike"), ("profiles", "profiles mean alike")]
)
def test_the_card_says_how_groups_came_about(groups: str, words: str) -> None:
    """Who decides about the model need not know the options of the build."""
    assert words in model_card(3, {**LINEAGE, "groups": groups}, METRICS, 0.0, EVALUATION, SKETCH)


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
    card = model_card(3, {**LINEAGE, "alpha_distill": alpha}, METRICS, 0.0, EVALUATION, SKETCH)
    assert words in card
    assert ("**Warning**" in card) is warned


def test_provenance_is_quoted_and_the_rest_listed() -> None:
    """The data's provenance stands in its own words, every other source in the lineage."""
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION, SKETCH)
    assert card.count("A made-up panel.") == 1
    assert '"seed": 7' in card


def test_what_was_not_measured_is_told_as_such() -> None:
    """A control has its gain with interval and seeds, or the words that nobody measured it."""
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION, SKETCH)
    assert "- Over ChoirRec, permuted: not measured\n" in card
    assert "- Over DIN + activity: +1.00 % [-2.00, +4.00], 2 seeds\n" in card


def test_the_card_tells_how_much_each_level_trusts_groups() -> None:
    """Mean alpha_fusion stands by activity level; a model that has it upside down says so."""
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION, SKETCH)
    assert "| 0.8000 | 0.7000 | 0.6000 | 0.5000 | 0.4000 |" in card
    turned = {6 - level: told for level, told in SKETCH.alpha_fusion.items()}
    inverted = ReferenceSketch(SKETCH.score, turned)
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION, inverted)
    assert "**Warning**: users who do least are the ones for whom" in card
    nobody = dict.fromkeys(range(1, 6), Histogram((), (0,), None))
    card = model_card(3, LINEAGE, METRICS, 0.0, EVALUATION, ReferenceSketch(nobody, nobody))
    assert "`alpha_fusion` was not measured" in card


def test_a_catalogue_of_models_can_read_the_head() -> None:
    """The head is YAML between two lines of dashes, and names the data set."""
    card = model_card(3, {"dataset": "panel: one"}, METRICS, 0.0, EVALUATION, SKETCH)
    assert card.startswith("---\n")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["datasets"] == ["panel: one"]
    assert "cold-start" in head["tags"]
