"""Reading: the files of a served log become one joined log."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.served_log import SERVED
from offline.online.files import Files
from offline.online.joined import Joined, Labelled, Rows, requests_of
from offline.online.outcomes import Outcomes, Told, read_outcomes
from offline.rules import ConfigError

_NAMES = ("request_id", "served_s", "user_id")
_COLUMNS = (
    *(*_NAMES, "role", "version", "experiment", "share", "propensity"),
    *("activity_level", "low_activity", "item_ids", "scores"),
)


def read_log(folder: Path, window_s: float, rows: Rows) -> Joined:
    """Join the requests of a log with their outcomes.

    A request counts once its window has closed, so that requests of different ages can be
    compared: its outcomes are final. Of several answers under one id the last one counts, since
    it is what the caller used; an id that stands for several users says nothing, and is left out.
    Files that cannot be read are counted.

    Args:
        folder: of the log.
        window_s: outcomes up to so long after a request are its doing, in seconds.
        rows: which candidates have a label.

    Raises:
        ConfigError: when there is no log, none of its files can be read, or no request counts.
    """
    files = Files(folder)
    index = _Index(files)
    if not index.counts:
        raise ConfigError(f"{folder / SERVED} holds no file of a served log; see CHOIRREC_LOG")
    outcomes = read_outcomes(files)
    until_s = max(index.newest_s, outcomes.newest_s)
    joining = _Joining(outcomes, index.counts, window_s, rows)
    for row in files.rows(SERVED, _COLUMNS):
        if index.counts_for(row):
            joining.take(row, closed=row["served_s"] + window_s <= until_s)
    counts = Counter(joining.counts) + outcomes.counts + Counter(files.counts())
    counts["outcomes of requests not in the log"] = sum(
        len(told) for request_id, told in outcomes.by_request.items() if request_id not in index
    )
    return joining.joined(counts, window_s)


class _Index:
    """Which row of each request id counts."""

    def __init__(self, files: Files) -> None:
        self.counts: Counter[str] = Counter()
        self.newest_s = 0.0
        self._last: dict[str, tuple[float, str]] = {}
        self._ambiguous: set[str] = set()
        for row in files.rows(SERVED, _NAMES):
            self._see(row["request_id"], row["served_s"], row["user_id"])

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._last

    def counts_for(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is the one that counts for its id; each but the last is counted here."""
        request_id = row["request_id"]
        if request_id in self._ambiguous:
            self.counts["requests whose id stands for several users"] += 1
            return False
        if self._last[request_id] != (row["served_s"], row["user_id"]):
            self.counts["requests answered again under one id"] += 1
            return False
        self._last[request_id] = (np.nan, "")  # an equal row is not counted twice
        return True

    def _see(self, request_id: str, served_s: float, user_id: str) -> None:
        former = self._last.get(request_id)
        self.counts["requests in the log"] += 1
        self.newest_s = max(self.newest_s, served_s)
        if former is not None and former[1] != user_id:
            self._ambiguous.add(request_id)
        if former is None or served_s >= former[0]:
            self._last[request_id] = (served_s, user_id)


class _Joining:
    """Columns that grow request by request."""

    def __init__(
        self, outcomes: Outcomes, counts: Counter[str], window_s: float, rows: Rows
    ) -> None:
        self.counts = counts
        self._outcomes = outcomes
        self._window_s = window_s
        self._rows = rows
        self._users: dict[str, int] = {}
        self._columns: dict[str, list[Any]] = defaultdict(list)
        self._request: list[int] = []
        self._score: list[float] = []
        self._label: list[float] = []

    def take(self, row: Mapping[str, Any], *, closed: bool) -> None:
        """Add a request, unless its outcomes are not final or a tester made it."""
        if row["propensity"] is None:
            self.counts["requests of testers"] += 1
            return
        if not closed:
            self.counts["requests whose window is open"] += 1
            return
        told = self._outcomes.of(row["request_id"], row["served_s"], self._window_s)
        first = {item_id: place for place, item_id in reversed(list(enumerate(row["item_ids"])))}
        known = {key: one for key, one in told.items() if key[0] in first}
        self.counts["outcomes of items that were not candidates"] += len(told) - len(known)
        self._label_rows(row, known, first)
        orders = [one for (_, kind), one in known.items() if kind == "order"]
        cells = {
            "user": self._users.setdefault(row["user_id"], len(self._users)),
            "level": row["activity_level"],
            "low": row["low_activity"],
            "orders": len(orders),
            "value": sum(one.value or 0.0 for one in orders),
            **{name: row[name] for name in ("role", "version", "experiment")},
            **{name: row[name] for name in ("share", "propensity", "served_s")},
        }
        for name, cell in cells.items():
            self._columns[name].append(cell)

    def joined(self, counts: Counter[str], window_s: float) -> Joined:
        """All that was taken; raises ConfigError when that is nothing."""
        if not self._request and not self._columns:
            raise ConfigError(
                f"none of {counts['requests in the log']} requests counts: "
                f"{counts['requests whose window is open']} are younger than the window of "
                f"{window_s / 3600:g} hours; wait, or say a shorter one by --within-hours"
            )
        counts["requests that count"] = len(self._columns["user"])
        times = self._columns["served_s"]
        labelled = Labelled(
            np.array(self._request, np.int64),
            np.array(self._score, np.float64),
            np.array(self._label, np.float64),
        )
        span = (min(times), max(times))
        return Joined(requests_of(self._columns), labelled, self._rows, dict(counts), span)

    def _label_rows(
        self, row: Mapping[str, Any], told: Mapping[tuple[str, str], Told], first: Mapping[str, int]
    ) -> None:
        """Candidates with a label; an order without a click implies the click."""
        ordered = {item_id for item_id, kind in told if kind == "order"}
        clicked = {item_id for item_id, _ in told}
        chosen = clicked if self._rows == "clicked" else first.keys()
        for item_id in sorted(chosen):
            self._request.append(len(self._columns["user"]))
            self._score.append(row["scores"][first[item_id]])
            self._label.append(float(item_id in ordered))
