"""Drift: whether users still lie where the codebooks were fitted, and when to fit again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.residuals import ResidualReference

FAR_QUANTILE = 95
"""Users beyond this percentile of the reference lie far from their centroids."""
FAR_SHARE_LIMIT = 0.10
"""Twice the share that is far when nothing has changed."""


@dataclass(frozen=True)
class Drift:
    """How a cut's users lie to codebooks that may have been fitted at an earlier one."""

    users: int
    """Users that have a group."""
    median_ratio: tuple[float | None, ...]
    """Per level: the median residual norm over the reference's; 1 = as fitted, None = the
    reference's median is zero."""
    far_share: float
    """Share of users beyond the reference's 95th percentile after the last level; 0.05 = as
    fitted."""
    mean_confidence: float
    """About 0.5 when nothing has changed."""
    refit: bool
    """Whether fitting again is advised: ``far_share`` is above 0.10."""


def measure_drift(reference: ResidualReference, norms: NDArray[np.float32]) -> Drift:
    """Compare a cut's residual norms with those of the fitted cut.

    Args:
        reference: of the cut that the codebooks were fitted at.
        norms: float32 ``[N, M]``, as ``assign_all`` writes them, with a group in at least one row.

    Returns:
        The drift.
    """
    known = norms[~np.isnan(norms[:, 0])]
    then, now = reference.quantiles[:, 50], np.median(known, axis=0)
    far_share = float(np.mean(known[:, -1] > reference.quantiles[-1, FAR_QUANTILE]))
    return Drift(
        users=len(known),
        median_ratio=tuple(
            float(after / before) if before > 0 else None
            for before, after in zip(then, now, strict=True)
        ),
        far_share=far_share,
        mean_confidence=float(reference.confidence(known).mean()),
        refit=far_share > FAR_SHARE_LIMIT,
    )
