"""The evaluation of a bundle's model: its figures on test rows, and the controls beside them."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from sys import float_info
from typing import Any

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "evaluation.html"
"""The same for people: one page that loads nothing. Show it sandboxed: a hash says whose it is, not
that it is harmless."""
MAX_EVALUATION_BYTES = 4 * 2**20
"""Of either file; reports of every method and ablation take a fiftieth of it."""
SEGMENTS = ("low", "overall", *(f"level_{level}" for level in range(1, 6)))
ROLES = ("design", "confirmation")


class MalformedEvaluation(ValueError):
    """An evaluation that cannot be read: what is wrong with it, and where."""


@dataclass(frozen=True)
class SegmentFigures:
    """A model's figures on the test rows of one segment; None where a figure is not defined."""

    rows: int
    """Test rows."""
    users: int
    """Users with at least one row."""
    auc: float | None
    """Over all rows."""
    gauc: float | None
    """Users' AUCs weighed by their rows; users of one class are left out."""
    gauc_error: float | None
    """Standard error of ``gauc``: bootstrap over users, of this one seed."""
    logloss: float | None
    """Nats."""
    pcoc: float | None
    """Mean prediction over mean label."""


@dataclass(frozen=True)
class Gain:
    """The model over a control: ratio of their GAUCs minus 1, paired by seed and user."""

    value: float
    low: float | None
    """Lower end of the 95 % interval by which the report judges it; None without one."""
    high: float | None
    """Upper end."""

    def __str__(self) -> str:
        """As percentages: ``+1.25 % [+0.31, +2.19]``."""
        value = f"{100 * self.value:+.2f} %"
        if self.low is None or self.high is None:
            return f"{value}, no interval"
        return f"{value} [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


@dataclass(frozen=True)
class Control:
    """A model that was, or was not, measured beside this one."""

    method: str
    title: str
    seeds: int
    """Seeds that both have finished; 0: it was not measured."""
    low: Gain | None
    """Over it, for low-activity users; None where it was not measured."""
    overall: Gain | None
    """The same for all users."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a bundle's model before it was released."""

    method: str
    """How it was made; a name of the methods that are compared."""
    dataset: str
    role: str
    """"confirmation": nothing was chosen on this data; "design": no claim may rest on it."""
    preset: str
    test_start: str
    """The test rows lie in [test_start, test_end), ISO, UTC without a zone."""
    test_end: str
    seed: int
    """Of the bundle's own model, whose figures ``segments`` holds."""
    seeds: int
    """Seeds of this method that were measured; gains rest on those that a control has, too."""
    measure: str
    """What gains are gains of, in words."""
    segments: Mapping[str, SegmentFigures]
    """By ``SEGMENTS``: low-activity users, all users, activity levels 1 (lowest) to 5."""
    controls: tuple[Control, ...]

    def to_json(self) -> str:
        """JSON for people and programs, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Read what ``to_json`` wrote.

        Args:
            text: the content of ``evaluation.json``.

        Raises:
            MalformedEvaluation: naming the member, its value and what was expected.
        """
        try:
            told = json.loads(text)
            segments = {name: SegmentFigures(**one) for name, one in told.pop("segments").items()}
            controls = tuple(_control(**one) for one in told.pop("controls"))
            evaluation = cls(segments=segments, controls=controls, **told)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise MalformedEvaluation(
                f"no evaluation of this format ({type(error).__name__}: {error}); export the "
                "bundle again"
            ) from error
        _check(evaluation)
        return evaluation


def _control(low: Any, overall: Any, **told: Any) -> Control:
    gains = (None if one is None else Gain(**one) for one in (low, overall))
    return Control(**told, low=next(gains), overall=next(gains))


def _check(evaluation: Evaluation) -> None:
    _check_values(evaluation, "")
    if evaluation.role not in ROLES:
        raise MalformedEvaluation(f"role {evaluation.role!r}, expected one of {ROLES}")
    if set(evaluation.segments) != set(SEGMENTS):
        raise MalformedEvaluation(f"segments {sorted(evaluation.segments)}, expected {SEGMENTS}")
    for name, figures in evaluation.segments.items():
        _check_values(figures, f"segments.{name}.")
    for control in evaluation.controls:
        _check_values(control, f"controls.{control.method}.")
        for gain in filter(None, (control.low, control.overall)):
            _check_values(gain, f"controls.{control.method}.gain.")


def _check_values(part: Any, place: str) -> None:
    """Every text, count and figure of a part is one, and lies where such a figure can lie."""
    for field in fields(part):
        value = getattr(part, field.name)
        if expected := _misfit(field.type, field.name, value):
            raise MalformedEvaluation(f"{place}{field.name} {value!r:.80}, expected {expected}")


def _misfit(kind: object, name: str, value: object) -> str | None:
    """What was expected of a plain value; None where it is that."""
    if kind is str:
        return None if isinstance(value, str) and value else "a text"
    if kind is int:
        return None if type(value) is int and value >= 0 else "a whole number from 0"
    if kind not in (float, float | None) or (value is None and kind is not float):
        return None
    # Neither NaN nor an integer beyond every float is at most the largest of them.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a finite number"
    if not abs(value) <= float_info.max:
        return "a finite number"
    most = 1.0 if name in ("auc", "gauc") else math.inf
    least = -math.inf if name in ("value", "low", "high") else 0.0
    return None if least <= value <= most else f"a number of {least:g} to {most:g}"
