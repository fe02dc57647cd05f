"""Arms: what was measured of each model that answered, by segment, with intervals."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from offline.evaluation import user_aucs
from offline.evidence.statistics import Interval, Statistic, World, bootstrap, combine, interval
from offline.online.joined import Doubles, Joined, Mask

REPLICATES = 500
"""Only their standard deviation counts, which they give to within 3 per cent."""
FIGURES = ("orders per user", "value per user", "converting users", "conversion", "gauc", "pcoc")


@dataclass(frozen=True)
class Figures:
    """One arm in one segment."""

    role: str
    version: int
    segment: str
    requests: int
    users: int
    rows: int
    """Candidates with a label."""
    orders: int
    values: dict[str, Interval | None]
    """By ``FIGURES``; None: not defined here, for want of users, rows or orders."""


def figures(joined: Joined) -> Iterator[Figures]:
    """Measure every role and version that answered.

    Args:
        joined: the log.

    Yields:
        One per arm and segment that has requests, the champion first.
    """
    requests = joined.requests
    names = set(zip(requests.role.tolist(), requests.version.tolist(), strict=True))
    for role, version in sorted(names, key=lambda arm: (arm[0] != "champion", arm[1])):
        arm = (requests.role == role) & (requests.version == version)
        for segment, mask in requests.segments().items():
            if (arm & mask).any():
                yield _measure(joined, (role, version, segment), arm & mask)


def _measure(joined: Joined, name: tuple[str, int, str], mask: Mask) -> Figures:
    requests = joined.requests
    users, dense = np.unique(requests.user[mask], return_inverse=True)
    orders = np.bincount(dense, requests.orders[mask])
    value = np.bincount(dense, requests.value[mask])
    ones = np.ones(len(users))
    rows = _rows(joined, mask)
    per_user = _means(np.stack([orders, value, orders > 0]), ones)
    return Figures(
        *name,
        requests=int(mask.sum()),
        users=len(users),
        rows=int(rows.sum()),
        orders=int(orders.sum()),
        values=dict(
            zip(FIGURES, [*map(_interval, per_user), *_of_rows(joined, rows)], strict=True)
        ),
    )


def _rows(joined: Joined, mask: Mask) -> Mask:
    """Which labelled candidates belong to the requests ``[K]``."""
    rows: Mask = mask[joined.labelled.request]
    return rows


def _of_rows(joined: Joined, rows: Mask) -> list[Interval | None]:
    """Conversion, GAUC and PCOC of some labelled candidates."""
    label, score = joined.labelled.label[rows], joined.labelled.score[rows]
    if not len(label):
        return [None, None, None]
    user = joined.requests.user[joined.labelled.request[rows]]
    aucs = user_aucs(score, label, user)
    _, dense = np.unique(user, return_inverse=True)
    counts = aucs.rows.astype(np.float64)
    means = np.stack([np.bincount(dense, label), np.bincount(dense, score)]) / counts
    conversion, predicted = _means(means, counts)
    return [_interval(conversion), _interval(_gauc(aucs.auc, counts)), _pcoc(predicted, conversion)]


def _gauc(auc_U: Doubles, rows_U: Doubles) -> Statistic | None:
    """Users' AUCs weighed by their rows; None when nobody has both an order and none."""
    if not np.isfinite(auc_U).any():
        return None
    return _means(auc_U[np.newaxis], rows_U)[0]


def _pcoc(predicted: Statistic, observed: Statistic) -> Interval | None:
    """Mean prediction over mean label; None without an order."""
    if observed.value == 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(combine(lambda a, b: a / b, predicted, observed))


def _means(values_MU: Doubles, weights_U: Doubles) -> tuple[Statistic, ...]:
    """Weighed means over users, with users drawn again."""
    world = World(values_MU.astype(np.float64)[:, np.newaxis, :], weights_U)
    return bootstrap([world], REPLICATES)


def _interval(statistic: Statistic | None) -> Interval | None:
    return None if statistic is None else interval(statistic)
