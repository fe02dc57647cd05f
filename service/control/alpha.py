"""Mean alpha_fusion by activity level: of canary, champion and reference, side by side."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model.reference import LEVELS, ReferenceSketch
from service.lifecycle.states import RoleCounts


@dataclass(frozen=True)
class AlphaLevel:
    """One activity level."""

    least: int
    """Answers of canary or champion, whichever has fewer."""
    canary: float
    """Mean."""
    champion: float
    reference: float
    error: float
    """Standard error of the canary's mean."""

    def told(self) -> dict[str, Any]:
        """As JSON values, for the audit log."""
        return asdict(self)


def alpha_levels(
    canary: RoleCounts, champion: RoleCounts, reference: ReferenceSketch
) -> Mapping[int, AlphaLevel]:
    """The levels that all three know.

    Args:
        canary: its counts.
        champion: the champion's.
        reference: of the canary's bundle.

    Returns:
        By level, 1 to 5.
    """
    found = {}
    for level in range(1, LEVELS + 1):
        expected = reference.alpha_fusion[level].mean
        answers, total = canary.alpha.get(str(level), (0, 0.0))
        usual_answers, usual_total = champion.alpha.get(str(level), (0, 0.0))
        if expected is None or not answers or not usual_answers:
            continue
        mean = total / answers
        squares = canary.alpha_squares.get(str(level), answers * mean)
        variance = max(squares / answers - mean**2, 0.0)
        found[level] = AlphaLevel(
            least=min(answers, usual_answers),
            canary=mean,
            champion=usual_total / usual_answers,
            reference=expected,
            error=(variance / answers) ** 0.5,
        )
    return found
