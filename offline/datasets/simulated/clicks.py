"""Clicks: the sessions of a block of users, and whether they end in purchases."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Floats, Ints
from offline.datasets.simulated.constants import Constants
from offline.datasets.simulated.policy import Intents, Policy
from offline.datasets.simulated.streams import Stream, stream
from offline.datasets.simulated.users import Users

DAY_S: Final = 86_400
WEEKEND: Final = (3, 4)
"""Days of a week that starts, as day 0 does, with a Wednesday."""


@dataclass(frozen=True, eq=False)
class Clicks:
    """Clicks of a block, by user, then as they happened; arrays of one length."""

    user: NDArray[np.int64]
    """int64: position in the block."""
    time_s: NDArray[np.int64]
    """int64: seconds since day 0."""
    item: Ints
    """int32."""
    kind: NDArray[np.int8]
    """int8: what the session was about."""
    logit: Floats
    """float32: of the probability of a purchase."""
    label: NDArray[np.int8]
    """int8: 1 = bought."""
    delay_s: Ints
    """int32: seconds until it is bought, where it is."""
    known: Floats
    """float32: what the logit would be to somebody who knows the archetype and the item's quality
    but nothing of the individual or the occasion, up to a constant per user."""

    @property
    def probability(self) -> Floats:
        """float32: the true probability of a purchase."""
        return probability(self.logit)


def draw_clicks(
    seed: int, constants: Constants, policy: Policy, users: Users, base: float
) -> Clicks:
    """The clicks of a block's users over the days."""
    rng = stream(seed, Stream.CLICKS, users.block)
    wanted = np.floor(users.rate + rng.random(len(users))).astype(np.int64)
    least = rng.geometric(1 / constants.session_clicks, len(users))
    counts = np.maximum(wanted, least)
    lengths, user = _sessions(rng, constants, counts, wanted < least)
    start_s = rng.integers(0, constants.days, len(user)) * DAY_S + start_of_session(
        rng, constants, len(user)
    )
    order = np.lexsort((start_s, user))
    sessions = policy.intents(rng, users, user, start_s[order] // DAY_S)
    return _browse(rng, policy, users, sessions, (start_s[order], lengths), base)


def _sessions(
    rng: np.random.Generator,
    constants: Constants,
    counts: NDArray[np.int64],
    is_one: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut each user's clicks into sessions of geometric length: their lengths and users."""
    user = np.repeat(np.arange(len(counts)), counts)
    starts = rng.random(len(user)) < 1 / constants.session_clicks
    starts &= ~is_one[user]
    starts[np.cumsum(counts) - counts] = True
    first = np.flatnonzero(starts)
    return np.diff(first, append=len(user)), user[first]


def draw_panel(
    seed: int, constants: Constants, policy: Policy, users: Users, base: float
) -> Clicks:
    """Further clicks of the last day, each a session of its own, where a block has panel users."""
    rng = stream(seed, Stream.PANEL, users.block)
    in_panel = users.block * constants.block_users < constants.panel_users
    user = np.repeat(np.arange(len(users) if in_panel else 0), constants.panel_clicks)
    start_s = (constants.days - 1) * DAY_S + start_of_session(rng, constants, len(user))
    start_s = start_s[np.lexsort((start_s, user))]
    sessions = policy.intents(rng, users, user, start_s // DAY_S)
    return _browse(rng, policy, users, sessions, (start_s, np.ones_like(user)), base)


def start_of_session(rng: np.random.Generator, constants: Constants, n: int) -> NDArray[np.int64]:
    """int64 ``[n]``: seconds after midnight."""
    start_s: NDArray[np.int64] = (
        constants.wake_s + constants.awake_s * rng.random(n) ** constants.evening
    ).astype(np.int64)
    return start_s


def _browse(
    rng: np.random.Generator,
    policy: Policy,
    users: Users,
    sessions: Intents,
    spans: tuple[NDArray[np.int64], NDArray[np.int64]],
    base: float,
) -> Clicks:
    start_s, lengths = spans
    rows = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    intents = sessions.take(rows)
    constants = policy.constants
    since_s = step * constants.step_s + rng.integers(0, constants.step_s, len(rows))
    leaf = _leaves(rng, policy, users, intents, step)
    item = policy.pick_item(rng, users, intents, leaf)
    time_s = start_s[rows] + np.minimum(since_s, constants.session_s)
    known = own_archetype(users, intents)
    logit = (
        np.float32(base)
        + policy.appeal(users, intents, item)
        + users.bias[intents.user]
        + _moment(constants, time_s)
        + np.float32(constants.logit_noise) * rng.standard_normal(len(rows), dtype=np.float32)
    ).astype(np.float32)
    bought = rng.random(len(rows), dtype=np.float32) < probability(logit)
    return Clicks(
        user=intents.user,
        time_s=time_s,
        item=item,
        kind=intents.kind,
        logit=logit,
        label=bought.astype(np.int8),
        delay_s=rng.integers(*constants.delay_s, len(rows), dtype=np.int32),
        known=policy.appeal(users, known, item),
    )


def probability(logit: Floats) -> Floats:
    """float32: the logistic function."""
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def own_archetype(users: Users, intents: Intents) -> Intents:
    """The same draws as if each were the user's archetype's, without individual taste."""
    return Intents(
        user=intents.user,
        kind=intents.kind,
        archetype=users.archetype[intents.user],
        personal=np.zeros_like(intents.personal),
        day=intents.day,
    )


def _leaves(
    rng: np.random.Generator,
    policy: Policy,
    users: Users,
    intents: Intents,
    step: NDArray[np.int64],
) -> Ints:
    """A new leaf at the start of a session, and later unless the user stays."""
    moves = (step == 0) | (rng.random(len(step)) >= policy.constants.stay_in_leaf)
    drawn = policy.pick_leaf(rng, users, intents.take(np.flatnonzero(moves)))
    leaf: Ints = drawn[np.cumsum(moves) - 1]
    return leaf


def _moment(constants: Constants, time_s: NDArray[np.int64]) -> Floats:
    """What hour and weekend add to the logit."""
    hour = np.sin(2 * np.pi * (time_s % DAY_S) / DAY_S)
    weekend = np.isin(time_s // DAY_S % 7, WEEKEND)
    moment: Floats = (-constants.hour * hour + constants.weekend * weekend).astype(np.float32)
    return moment
