"""Calibration: the activity that gives the stated mean and share of clicks, by bisection."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.constants import Constants

Doubles = NDArray[np.float64]

GRID = 5_000
STEPS = 45


@dataclass(frozen=True)
class Activity:
    """How activity follows from a standard normal."""

    mu: float
    sigma: float
    click_cap: float
    """Most clicks over the days."""
    purchase_mu: float
    purchase_sigma: float
    purchase_cap: float

    def clicks(self, z: Doubles) -> Doubles:
        """Clicks over the days, but for rounding and for one whole session at least."""
        return np.minimum(np.exp(self.mu + self.sigma * z), self.click_cap)

    def purchases(self, z: Doubles) -> Doubles:
        """Expected purchases of the history."""
        return np.minimum(np.exp(self.purchase_mu + self.purchase_sigma * z), self.purchase_cap)


def calibrate_activity(constants: Constants) -> Activity:
    """Find mu for the mean number of clicks and sigma for the most active users' share of them.

    Args:
        constants: the simulator's constants.

    Returns:
        The activity; it depends on no world.

    Source: docs/simulator.md.
    """
    normal = NormalDist()
    z = np.array([normal.inv_cdf((i + 0.5) / GRID) for i in range(GRID)])
    cap = constants.clicks_per_day_cap * constants.days

    def clicks(mu: float, sigma: float) -> Doubles:
        return expected_clicks(np.minimum(np.exp(mu + sigma * z), cap), constants.session_clicks)

    def mu_of(sigma: float) -> float:
        return bisect(lambda mu: float(clicks(mu, sigma).mean()) - constants.mean_clicks, -12, 6)

    top = round(GRID * (1 - constants.top_users))

    def excess(sigma: float) -> float:
        made = clicks(mu_of(sigma), sigma)
        return float(made[top:].sum() / made.sum()) - constants.top_clicks

    sigma = bisect(excess, 0.5, 6)
    deviation = constants.purchase_deviation
    purchase_mu = bisect(
        lambda mu: float(
            np.minimum(np.exp(mu + deviation * z), constants.purchase_cap).mean()
            - constants.mean_purchases
        ),
        -6,
        6,
    )
    return Activity(
        mu=mu_of(sigma),
        sigma=sigma,
        click_cap=cap,
        purchase_mu=purchase_mu,
        purchase_sigma=deviation,
        purchase_cap=constants.purchase_cap,
    )


def expected_clicks(rate: Doubles, session_clicks: float) -> Doubles:
    """float64: the mean of the larger of a rate, rounded up or down, and one session's clicks.

    A session's clicks G are geometric from 1, so that E max(n, G) = n + mean (1 - 1 / mean)^n.
    """
    whole = np.floor(rate)
    part = rate - whole
    goes_on = 1 - 1 / session_clicks
    expected: Doubles = rate + session_clicks * goes_on**whole * (1 - part + part * goes_on)
    return expected


def bisect(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function crosses zero, between two bounds."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        if excess(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
