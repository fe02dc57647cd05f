"""The past: purchases, queries and counted clicks of a block of users before day 0."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Ints
from offline.datasets.simulated.clicks import DAY_S, start_of_session
from offline.datasets.simulated.constants import Constants
from offline.datasets.simulated.draws import choose
from offline.datasets.simulated.names import PRICE_TIERS
from offline.datasets.simulated.policy import Policy
from offline.datasets.simulated.streams import Stream, stream
from offline.datasets.simulated.users import Users


@dataclass(frozen=True, eq=False)
class Events:
    """Purchases or counted clicks of a block, by user; arrays of one length."""

    user: NDArray[np.int64]
    """int64: position in the block."""
    time_s: NDArray[np.int64]
    """int64: seconds since day 0; negative."""
    item: Ints
    """int32."""


@dataclass(frozen=True, eq=False)
class Queries:
    """Search queries of a block, by user; arrays of one length."""

    user: NDArray[np.int64]
    """int64: position in the block."""
    time_s: NDArray[np.int64]
    """int64: seconds since day 0; negative."""
    leaf: Ints
    """int32: the category asked for."""
    price: Ints
    """int32: the price word, 1 to 5; 0 = none."""
    style: Ints
    """int32: the style word, 1 to 8; 0 = none."""


def draw_purchases(seed: int, constants: Constants, policy: Policy, users: Users) -> Events:
    """The history's purchases of a block's users."""
    rng = stream(seed, Stream.PURCHASES, users.block)
    counts = np.minimum(rng.poisson(users.purchase_rate), int(constants.purchase_cap))
    return bought(rng, constants, policy, users, np.repeat(np.arange(len(users)), counts))


def bought(
    rng: np.random.Generator,
    constants: Constants,
    policy: Policy,
    users: Users,
    user: NDArray[np.int64],
) -> Events:
    """A purchase for each user named: the best of some items that the user came upon."""
    time_s = _past_time(rng, constants, len(user), constants.history_days)
    intents = policy.intents(rng, users, user, time_s // DAY_S)
    found = []
    for _ in range(constants.purchase_draws):
        leaf = policy.pick_leaf(rng, users, intents)
        found.append(policy.pick_item(rng, users, intents, leaf))
    appeal = np.stack([policy.appeal(users, intents, item) for item in found], axis=1)
    best = choose(rng, appeal)
    return Events(user=user, time_s=time_s, item=np.stack(found, 1)[np.arange(len(user)), best])


def draw_queries(seed: int, constants: Constants, policy: Policy, users: Users) -> Queries:
    """The queries of a block's users."""
    rng = stream(seed, Stream.QUERIES, users.block)
    mean = constants.query_base + constants.query_slope * np.log1p(users.purchase_rate)
    counts = np.minimum(rng.poisson(mean), constants.query_cap)
    return asked(rng, constants, policy, users, np.repeat(np.arange(len(users)), counts))


def asked(
    rng: np.random.Generator,
    constants: Constants,
    policy: Policy,
    users: Users,
    user: NDArray[np.int64],
) -> Queries:
    """A query for each user named."""
    n = len(user)
    time_s = _past_time(rng, constants, n, constants.history_days)
    intents = policy.intents(rng, users, user, time_s // DAY_S)
    target = policy.archetypes.price[intents.archetype] + intents.personal * users.delta[user]
    price = np.clip(np.rint(target), 1, len(PRICE_TIERS)).astype(np.int32)
    personal = np.float32(constants.personal) * intents.personal[:, None]
    liking = policy.archetypes.style[intents.archetype] + personal * users.eta[user]
    style = 1 + choose(rng, liking).astype(np.int32)
    return Queries(
        user=user,
        time_s=time_s,
        leaf=policy.pick_leaf(rng, users, intents),
        price=np.where(rng.random(n) < constants.query_price, price, 0).astype(np.int32),
        style=np.where(rng.random(n) < constants.query_style, style, 0).astype(np.int32),
    )


def draw_past_clicks(seed: int, constants: Constants, policy: Policy, users: Users) -> Events:
    """Clicks of the days just before day 0, which only count: their items are any."""
    rng = stream(seed, Stream.PAST_CLICKS, users.block)
    counts = rng.poisson(users.past_rate)
    user = np.repeat(np.arange(len(users)), counts)
    item = rng.integers(0, len(policy.items.leaf), len(user)).astype(np.int32)
    time_s = _past_time(rng, constants, len(user), constants.count_days)
    return Events(user=user, time_s=time_s, item=item)


def _past_time(
    rng: np.random.Generator, constants: Constants, n: int, days: int
) -> NDArray[np.int64]:
    time_s: NDArray[np.int64] = rng.integers(-days, 0, n) * DAY_S + start_of_session(
        rng, constants, n
    )
    return time_s
