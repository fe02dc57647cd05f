"""The equity guard: a version must not win overall by losing on low-activity users."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from model.desired import Desired, Target
from model.evaluation import Evaluation, SegmentFigures
from service.control.bundle_parts import BundleParts, Unreadable
from service.control.finding import Finding

SEGMENTS: Mapping[str, str] = {"low": "low-activity users", "overall": "all users"}
"""What is judged, and its name in sentences."""
CHANCE_GAUC = 0.5
"""The GAUC of a model that knows nothing."""


class EquityGuard:
    """Compares the evaluations that two bundles carry; no request is needed for it."""

    def __init__(self, parts: BundleParts, calibration: float) -> None:
        """Make it.

        Args:
            parts: reads evaluations.
            calibration: how far PCOC, mean prediction over mean label, may lie from 1.
        """
        self._parts = parts
        self._calibration = calibration

    async def judge_promotion(self, present: Desired, candidate: Target) -> Finding:
        """As ``Guards.judge_promotion``."""
        champion, pins = present.champion, present.bundles
        if champion.version == candidate.version:
            return Finding()  # another generation: the model is the same
        try:
            found = await self._parts.evaluation(candidate.version, pins.get(candidate.version))
        except Unreadable as error:
            return Finding(reasons=(f"the candidate cannot be judged: {error}",))
        missed = list(missed_thresholds(found, self._calibration))
        evidence = {"candidate": _told(found)}
        try:
            usual = await self._parts.evaluation(champion.version, pins.get(champion.version))
        except Unreadable as error:
            said = f"the candidate cannot be compared with the champion: {error}"
            return Finding(bool(missed), (*missed, said), evidence)
        evidence["champion"] = _told(usual)
        if differs := difference_of_data(found, usual):
            said = f"the candidate cannot be compared with the champion: {differs}"
            return Finding(bool(missed), (*missed, said), evidence)
        lost = list(losses(found, usual))
        reasons = (*lost, *missed, *unjudged(found, usual))
        return Finding(bool(missed or lost), reasons, evidence)


def losses(candidate: Evaluation, champion: Evaluation) -> Iterator[str]:
    """Segments whose GAUC is below the champion's by more than its noise, in sentences.

    The noise is the standard error of the difference as if the two were measured apart. They were
    measured on the same users, so the true one is smaller, and equal models seldom come as far.

    Args:
        candidate: its evaluation.
        champion: the champion's, on the same test rows.
    """
    for segment, name in SEGMENTS.items():
        found, usual = candidate.segments[segment], champion.segments[segment]
        if found.gauc is None or usual.gauc is None:
            continue
        noise = ((found.gauc_error or 0.0) ** 2 + (usual.gauc_error or 0.0) ** 2) ** 0.5
        if found.gauc < usual.gauc - noise:
            yield (
                f"GAUC of {name}: {found.gauc:.4f}, the champion's {usual.gauc:.4f}; a loss of "
                f"{usual.gauc - found.gauc:.4f} is more than its noise of {noise:.4f}"
            )


def unjudged(candidate: Evaluation, champion: Evaluation) -> Iterator[str]:
    """Segments in which one of the two has no GAUC, so that nothing is known of a loss."""
    for whose, evaluation in (("the candidate", candidate), ("the champion", champion)):
        for segment, name in SEGMENTS.items():
            if evaluation.segments[segment].gauc is None:
                yield f"GAUC of {name} could not be measured of {whose}, so no loss is judged there"


def missed_thresholds(candidate: Evaluation, calibration: float) -> Iterator[str]:
    """What a model must reach by itself and does not, in sentences.

    Args:
        candidate: its evaluation.
        calibration: how far PCOC may lie from 1.
    """
    for segment, name in SEGMENTS.items():
        figures = candidate.segments[segment]
        if figures.gauc is not None and figures.gauc <= CHANCE_GAUC:
            yield f"GAUC of {name}: {figures.gauc:.4f}, expected above {CHANCE_GAUC}"
        if figures.pcoc is not None and abs(figures.pcoc - 1) > calibration:
            yield (
                f"PCOC of {name} (mean prediction over mean label): {figures.pcoc:.3f}, expected "
                f"{1 - calibration:g} to {1 + calibration:g}"
            )


def difference_of_data(candidate: Evaluation, champion: Evaluation) -> str | None:
    """Why two evaluations are not of the same test rows; None: they are."""
    for name in ("dataset", "test_start", "test_end", "measure"):
        found, usual = getattr(candidate, name), getattr(champion, name)
        if found != usual:
            return f"{name} {found}, the champion's {usual}; evaluate both on the same test rows"
    for segment in SEGMENTS:
        rows = candidate.segments[segment].rows, champion.segments[segment].rows
        if rows[0] != rows[1]:
            return f"{segment}: {rows[0]} test rows, the champion's {rows[1]}"
    return None


def _told(evaluation: Evaluation) -> dict[str, Any]:
    figures: dict[str, SegmentFigures] = {n: evaluation.segments[n] for n in SEGMENTS}
    return {
        "dataset": evaluation.dataset,
        "test": [evaluation.test_start, evaluation.test_end],
        **{name: asdict(one) for name, one in figures.items()},
    }
