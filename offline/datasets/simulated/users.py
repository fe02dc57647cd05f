"""Users: archetype, activity, individual taste and attributes of one block."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Archetypes, Floats, Ints, Leaves
from offline.datasets.simulated.calibration import Activity
from offline.datasets.simulated.constants import Constants
from offline.datasets.simulated.names import ATTRIBUTES, STYLES
from offline.datasets.simulated.streams import Stream, stream


@dataclass(frozen=True, eq=False)
class Users:
    """N users of one block."""

    block: int
    archetype: Ints
    """int32 ``[N]``."""
    z_click: Floats
    """float32 ``[N]``: activity in the simulated days, standard normal."""
    z_long: Floats
    """float32 ``[N]``: activity in the year before, standard normal."""
    rate: Floats
    """float32 ``[N]``: expected clicks over the days (lambda)."""
    past_rate: Floats
    """float32 ``[N]``: expected clicks over the counted days before."""
    purchase_rate: Floats
    """float32 ``[N]``: expected purchases of the history."""
    bias: Floats
    """float32 ``[N]``: the user's own readiness to buy (b_u)."""
    omega: Floats
    """float32 ``[N, 6]``: individual taste over leaf factors."""
    delta: Floats
    """float32 ``[N]``: individual shift of the price target, in tiers."""
    eta: Floats
    """float32 ``[N, 8]``: individual taste over styles."""
    leaf_taste: Floats
    """float32 ``[N, 320]``: omega times the leaf factors."""
    attributes: Ints
    """int32 ``[N, 6]``: values; -1 = missing."""

    def __len__(self) -> int:
        """Number of users."""
        return len(self.archetype)


def draw_users(
    seed: int,
    block: int,
    constants: Constants,
    activity: Activity,
    archetypes: Archetypes,
    leaves: Leaves,
) -> Users:
    """The users of one whole block."""
    rng = stream(seed, Stream.USERS, block)
    n = constants.block_users
    archetype = rng.choice(len(archetypes.weight), n, p=archetypes.weight).astype(np.int32)
    z_long = rng.standard_normal(n)
    shared = constants.activity_correlation
    z_click = shared * z_long + np.sqrt(1 - shared**2) * rng.standard_normal(n)
    rate = activity.clicks(z_click)
    slope = constants.bias_slope * activity.sigma / constants.bias_reference
    level = np.log(rate / constants.mean_clicks + constants.bias_floor)
    bias = slope * level + constants.bias_noise * rng.standard_normal(n)
    omega = rng.standard_normal((n, constants.factors)).astype(np.float32)
    return Users(
        block=block,
        archetype=archetype,
        z_click=z_click.astype(np.float32),
        z_long=z_long.astype(np.float32),
        rate=rate.astype(np.float32),
        past_rate=(activity.clicks(z_long) * constants.count_days / constants.days).astype(
            np.float32
        ),
        purchase_rate=activity.purchases(z_long).astype(np.float32),
        bias=bias.astype(np.float32),
        omega=omega,
        delta=(constants.price_taste * rng.standard_normal(n)).astype(np.float32),
        eta=rng.standard_normal((n, len(STYLES))).astype(np.float32),
        leaf_taste=np.einsum("nf,lf->nl", omega, leaves.factors),
        attributes=_attributes(rng, constants, archetypes.modes[archetype], z_click + z_long),
    )


def _attributes(
    rng: np.random.Generator, constants: Constants, modes: Ints, activity: NDArray[np.float64]
) -> Ints:
    """Values that are mostly the archetype's, and mostly known of active users."""
    sizes = np.array([len(values) for values in ATTRIBUTES.values()])
    random = rng.integers(0, sizes, modes.shape)
    noisy = rng.random(modes.shape) < constants.attribute_noise
    logit = constants.presence_bias + constants.presence_slope * activity / 2
    present = rng.random(modes.shape) < 1 / (1 + np.exp(-logit[:, None]))
    return np.where(present, np.where(noisy, random, modes), -1).astype(np.int32)
