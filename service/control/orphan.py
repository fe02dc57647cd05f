"""The orphan: a candidate whose operator is gone, and which any replica may withdraw."""

import time

from model.desired import Desired, Target

WITHIN_S = 120.0
"""Time for a candidate to become ready, unless its change says otherwise (``within_s``)."""
GRACE_S = 15.0
"""Beyond that time, whoever asked for the candidate would have decided."""


class OrphanClock:
    """Counts from when this replica first saw a candidate, so that clocks need not agree."""

    def __init__(self) -> None:
        """Begin without a candidate."""
        self._candidate: Target | None = None
        self._until_s = 0.0

    def is_orphan(self, desired: Desired) -> bool:
        """Look at a document, and say whether its candidate has outlived its time."""
        now_s = time.monotonic()
        if desired.candidate is not None and desired.candidate != self._candidate:
            within_s = desired.change.evidence.get("within_s", WITHIN_S)
            self._until_s = now_s + float(within_s) + GRACE_S
        self._candidate = desired.candidate
        return self._candidate is not None and now_s > self._until_s
