"""Outcomes: what was told of the requests, each counted once however often it was told."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.served_log import COLUMNS, OUTCOMES
from offline.online.files import Files

CLOCKS_S = 60.0
"""By how much the clocks of the service and of whoever tells outcomes may differ."""


@dataclass(frozen=True)
class Told:
    """One outcome, as it was told first."""

    time_s: float
    value: float | None
    received_s: float


@dataclass(eq=False)
class Outcomes:
    """All outcomes by request, candidate and kind."""

    by_request: dict[str, dict[tuple[str, str], Told]] = field(default_factory=dict)
    """Request id -> (item id, click or order) -> outcome."""
    counts: Counter[str] = field(default_factory=Counter)
    """Outcomes told, and told again."""
    newest_s: float = 0.0
    """When the last one was received."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of the log; the first that was received stands."""
        told = Told(row["time_s"], row["value"], row["received_s"])
        of_request = self.by_request.setdefault(row["request_id"], {})
        key = (row["item_id"], row["outcome"])
        former = of_request.get(key)
        self.counts["outcomes told"] += 1
        self.counts["outcomes told again"] += former is not None
        self.newest_s = max(self.newest_s, told.received_s)
        if former is None or told.received_s < former.received_s:
            of_request[key] = told

    def of(self, request_id: str, served_s: float, window_s: float) -> dict[tuple[str, str], Told]:
        """The outcomes that count for a request.

        Args:
            request_id: of the request.
            served_s: when it was answered.
            window_s: later outcomes are not its doing.

        Returns:
            By item id and kind; those before the request or after the window are counted and
            left out.
        """
        kept = {}
        for key, told in self.by_request.get(request_id, {}).items():
            if told.time_s < served_s - CLOCKS_S:
                self.counts["outcomes before their request"] += 1
            elif told.time_s > served_s + window_s:
                self.counts["outcomes after the window"] += 1
            else:
                kept[key] = told
        return kept


def read_outcomes(files: Files) -> Outcomes:
    """Read all outcomes of a log.

    Raises:
        ConfigError: when no file of them can be read.
    """
    outcomes = Outcomes()
    for row in files.rows(OUTCOMES, COLUMNS[OUTCOMES]):
        outcomes.add(row)
    return outcomes
