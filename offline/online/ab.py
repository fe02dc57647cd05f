"""The A/B table: what a canary gains over the champion, as in the paper's Table 3."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from offline.evidence.statistics import (
    Interval,
    Statistic,
    World,
    bootstrap,
    holm_adjusted,
    interval,
    relative,
)
from offline.online.arms import REPLICATES
from offline.online.joined import Doubles, Ints, Joined, Mask, Requests

METRICS = ("Orders", "GMV", "Converting users", "Conversion")
ARMS = ("champion", "canary")


@dataclass(frozen=True)
class Gain:
    """One cell of the table."""

    experiment: str
    segment: str
    metric: str
    users: tuple[int, int]
    """Of the champion and of the canary."""
    means: tuple[float, float]
    """Of the champion and of the canary: per user, or per labelled candidate."""
    lift: Interval | None
    """Relative gain of the canary; None: there is too little to tell."""
    p_adjusted: float
    """Holm's, over all cells of the experiment; NaN where there is no lift."""


@dataclass(frozen=True)
class Experiment:
    """One canary's time."""

    salt: str
    versions: dict[str, tuple[int, ...]]
    """By arm."""
    shares: tuple[float, ...]
    """Of users for the canary, in the order of time."""
    gains: tuple[Gain, ...]


def experiments(joined: Joined) -> Iterator[Experiment]:
    """Compare canary and champion, wherever chance alone decided who got which.

    Each request weighs as much as its role was improbable, so that a share that changed on the
    way does not mix times of day, weekdays or users unevenly. Users are drawn again as a whole,
    with all their requests; a user's segment is that of the first request in the experiment, which
    no model can have changed.

    Args:
        joined: the log.

    Yields:
        One per salt under which both arms answered, in the order of time.
    """
    requests = joined.requests
    # Without a canary the share is NaN, which lies in no range.
    compared = (requests.share > 0) & (requests.share < 1)
    for salt in dict.fromkeys(requests.experiment[compared].tolist()):
        mask = compared & (requests.experiment == salt)
        if set(requests.role[mask].tolist()) == set(ARMS):
            yield _experiment(joined, salt, mask)


def _experiment(joined: Joined, salt: str, mask: Mask) -> Experiment:
    requests = joined.requests
    gains: list[Gain] = []
    for segment, chosen in _first_segments(requests, mask).items():
        gains += _gains(joined, (salt, segment), chosen)
    p = holm_adjusted(np.array([np.nan if g.lift is None else g.lift.p for g in gains]))
    versions = {arm: np.unique(requests.version[mask & (requests.role == arm)]) for arm in ARMS}
    order = np.argsort(requests.served_s[mask], kind="stable")
    shares = tuple(dict.fromkeys(requests.share[mask][order].tolist()))
    return Experiment(
        salt,
        {arm: tuple(found.tolist()) for arm, found in versions.items()},
        shares,
        tuple(_adjusted(gain, float(one)) for gain, one in zip(gains, p, strict=True)),
    )


def _adjusted(gain: Gain, p: float) -> Gain:
    return Gain(**{**gain.__dict__, "p_adjusted": np.nan if gain.lift is None else p})


def _first_segments(requests: Requests, mask: Mask) -> dict[str, Mask]:
    """Masks of the experiment's requests, by the segment of their user's first one."""
    places = np.flatnonzero(mask)
    order = places[np.argsort(requests.served_s[places], kind="stable")]
    users, first = np.unique(requests.user[order], return_index=True)
    found = {}
    for name, segment in requests.segments().items():
        members = users[segment[order[first]]]
        found[name] = mask & np.isin(requests.user, members)
    return found


def _gains(joined: Joined, name: tuple[str, str], mask: Mask) -> Iterator[Gain]:
    requests = joined.requests
    arms = [_arm(joined, mask & (requests.role == arm), seed) for seed, arm in enumerate(ARMS)]
    users = tuple(len(np.unique(requests.user[mask & (requests.role == a)])) for a in ARMS)
    for metric in METRICS:
        champion, canary = (arm.get(metric) for arm in arms)
        means = (_value(champion), _value(canary))
        yield Gain(*name, metric, (users[0], users[1]), means, _lift(canary, champion), np.nan)


def _value(statistic: Statistic | None) -> float:
    return np.nan if statistic is None else statistic.value


def _lift(canary: Statistic | None, champion: Statistic | None) -> Interval | None:
    if canary is None or champion is None or champion.value == 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        found = interval(relative(canary, champion))
    return found if np.isfinite(found.error) else None


def _arm(joined: Joined, mask: Mask, seed: int) -> dict[str, Statistic]:
    """Each metric of one arm; the arms' draws are independent, since they share no user's chance.

    The unit is a user under one share: its outcomes weigh 1 / propensity, and so does it.
    """
    requests = joined.requests
    if not mask.any():
        return {}
    users, places = np.unique(requests.user[mask], return_inverse=True)
    dense = places.astype(np.int64)
    weight = 1 / requests.propensity[mask]
    present = _units(dense, requests.share[mask], weight, len(users))
    orders = _sums(dense, requests.orders[mask] * weight, len(users))
    value = _sums(dense, requests.value[mask] * weight, len(users))
    bought = requests.orders[mask] > 0
    converting = _units(dense[bought], requests.share[mask][bought], weight[bought], len(users))
    totals = np.stack([orders, value, converting]) / present
    found = dict(zip(METRICS[:3], _means(totals, present, seed), strict=True))
    return found | _conversion(joined, mask, users, seed)


def _units(dense: Ints, share: Doubles, weight: Doubles, users: int) -> Doubles:
    """By user, the weights of the shares under which a row of the user stands ``[U]``."""
    units = np.unique(np.stack([dense, share, weight], axis=1), axis=0)
    return _sums(units[:, 0].astype(np.int64), units[:, 2], users)


def _conversion(joined: Joined, mask: Mask, users: Ints, seed: int) -> dict[str, Statistic]:
    """Orders per labelled candidate; nothing without such a candidate."""
    labelled, requests = joined.labelled, joined.requests
    rows = mask[labelled.request]
    if not rows.any():
        return {}
    of = labelled.request[rows]
    weight, dense = 1 / requests.propensity[of], np.searchsorted(users, requests.user[of])
    total = _sums(dense, weight, len(users))
    ordered = _sums(dense, weight * labelled.label[rows], len(users))
    share = np.divide(ordered, total, out=np.zeros(len(users)), where=total > 0)
    return {METRICS[3]: _means(share[np.newaxis], total, seed)[0]}


def _sums(place: Ints, values: Doubles, size: int) -> Doubles:
    """Values added up by place ``[size]``."""
    return np.bincount(place, values, minlength=size).astype(np.float64)


def _means(values_MU: Doubles, weights_U: Doubles, seed: int) -> tuple[Statistic, ...]:
    world = World(values_MU[:, np.newaxis, :], weights_U)
    return bootstrap([world], REPLICATES, seed)
