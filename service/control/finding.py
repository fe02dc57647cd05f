"""Findings: what a guard says of a version before it may become champion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from model.desired import Desired, Target


@dataclass(frozen=True)
class Finding:
    """What a guard found, with its evidence."""

    refused: bool = False
    """Whether the change needs ``--force``."""
    reasons: tuple[str, ...] = ()
    """Why it was refused, or what could not be judged; in sentences for operators."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Numbers for the audit log; JSON values only."""


class Guards(Protocol):
    """Who judges a version before it becomes champion."""

    async def judge_promotion(self, present: Desired, candidate: Target) -> Finding:
        """Compare what is known of both before any request is answered by the candidate.

        Args:
            present: tells what answers now, and the bundles that versions mean.
            candidate: what is to be champion; of the same version where a generation moves alone.

        Returns:
            The finding; what cannot be read or compared is said in it, never raised.
        """
        ...
