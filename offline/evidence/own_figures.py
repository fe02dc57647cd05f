"""Own figures: one model's evaluation as tables of texts, the controls or their lack included."""

from model.evaluation import Control, Evaluation, SegmentFigures
from offline.evidence.sections import TextTable
from offline.evidence.words import score

_NAMES = {"low": "Low-activity users", "overall": "All users"}
NOT_MEASURED = "not measured"


def own_tables(evaluation: Evaluation) -> tuple[TextTable, TextTable]:
    """What a report says of the bundle's own model, before all else.

    Args:
        evaluation: of the model.

    Returns:
        Its figures by segment, and its gains over the controls.
    """
    return _figures(evaluation), _gains(evaluation)


def _figures(evaluation: Evaluation) -> TextTable:
    return TextTable(
        f"Outcomes of the test rows of {evaluation.dataset}, {evaluation.test_start} to"
        f" {evaluation.test_end}; the model of seed {evaluation.seed}, preset"
        f" {evaluation.preset}. Standard error: over users; another seed moves a figure, too",
        ("", "Rows", "Users", "AUC", "GAUC", "Standard error", "Logloss", "pcoc"),
        tuple(
            _segment(_NAMES.get(name, name.replace("_", " ").capitalize()), figures)
            for name, figures in evaluation.segments.items()
        ),
    )


def _segment(name: str, found: SegmentFigures) -> tuple[str, ...]:
    told = (found.auc, found.gauc, found.gauc_error, found.logloss, found.pcoc)
    return (name, f"{found.rows:,}", f"{found.users:,}", *map(_score, told))


def _score(value: float | None) -> str:
    return "-" if value is None else score(value)


def _gains(evaluation: Evaluation) -> TextTable:
    return TextTable(
        f"Over the controls: relative gain of {evaluation.measure}, 95 % intervals. Without both"
        " of them nothing is known of what groups add",
        ("Over", "Seeds", "Low-activity users", "All users"),
        tuple(_control(control) for control in evaluation.controls),
    )


def _control(control: Control) -> tuple[str, ...]:
    gains = (str(gain or NOT_MEASURED) for gain in (control.low, control.overall))
    return (control.title, str(control.seeds), *gains)
