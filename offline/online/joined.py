"""The joined log: answered requests, each with what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

Rows = Literal["clicked", "scored"]
"""Which candidates have a label: those that were clicked (a conversion follows a click), or all
that were scored."""
LEVELS = 5
SEGMENTS = ("all users", "low activity", "high activity")


@dataclass(frozen=True, eq=False)
class Requests:
    """N answered requests."""

    user: Ints
    """int64 ``[N]`` numbers of users."""
    role: NDArray[np.object_]
    """``[N]`` champion or canary."""
    version: Ints
    """int64 ``[N]``."""
    experiment: NDArray[np.object_]
    """``[N]`` the salt of the canary; empty: there was none."""
    share: Doubles
    """float64 ``[N]`` of users for the canary; NaN: there was none."""
    propensity: Doubles
    """float64 ``[N]`` the chance of this user's role; 1 without a canary."""
    level: Ints
    """int64 ``[N]`` activity level, 0 where it was not known."""
    low: Ints
    """int64 ``[N]`` 1 low-activity, 0 not, -1 not known."""
    served_s: Doubles
    """float64 ``[N]`` seconds since the epoch."""
    orders: Doubles
    """float64 ``[N]``."""
    value: Doubles
    """float64 ``[N]`` of its orders, together."""

    def segments(self) -> Mapping[str, Mask]:
        """Masks ``[N]`` of all users, low- and high-activity ones, and each level."""
        names = dict(zip(SEGMENTS, (self.level >= 0, self.low == 1, self.low == 0), strict=True))
        return names | {f"level {n}": self.level == n for n in range(1, LEVELS + 1)}


@dataclass(frozen=True, eq=False)
class Labelled:
    """K candidates with a label."""

    request: Ints
    """int64 ``[K]`` places in ``Requests``."""
    score: Doubles
    """float64 ``[K]`` as served."""
    label: Doubles
    """float64 ``[K]`` 1: ordered."""


@dataclass(frozen=True, eq=False)
class Joined:
    """A log, joined."""

    requests: Requests
    labelled: Labelled
    rows: Rows
    counts: Mapping[str, int]
    """What was read and what was left out, by reason."""
    span_s: tuple[float, float]
    """Of the requests that count, seconds since the epoch."""


def requests_of(columns: Mapping[str, list[Any]]) -> Requests:
    """Requests from plain columns.

    Args:
        columns: by the names of the fields; None where something is not known.
    """
    return Requests(
        user=np.array(columns["user"], np.int64),
        role=np.array(columns["role"], object),
        version=np.array(columns["version"], np.int64),
        experiment=np.array([one or "" for one in columns["experiment"]], object),
        share=np.array(columns["share"], np.float64),  # None becomes NaN
        propensity=np.array(columns["propensity"], np.float64),
        level=np.array([one or 0 for one in columns["level"]], np.int64),
        low=np.array([-1 if one is None else int(one) for one in columns["low"]], np.int64),
        served_s=np.array(columns["served_s"], np.float64),
        orders=np.array(columns["orders"], np.float64),
        value=np.array(columns["value"], np.float64),
    )
