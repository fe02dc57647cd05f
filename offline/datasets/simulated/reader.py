"""The Bayes reader: how well the archetype can be told from what a profile is written from."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Doubles, Ints
from offline.datasets.simulated.names import ATTRIBUTES, LEAF_NAMES, PRICE_TIERS, STYLES
from offline.datasets.simulated.past import Events, Queries, asked, bought
from offline.datasets.simulated.streams import Stream, stream
from offline.datasets.simulated.world import World

ROUNDS = 40
EVENTS_PER_USER = 12
SMOOTHING = 60.0
"""Weight, in events, of the leaf shares that are known without drawing."""


@dataclass(frozen=True, eq=False)
class BayesReader:
    """Log probabilities of what an archetype does, individual taste averaged out."""

    log_weight: Doubles
    """float64 ``[A]``: the prior."""
    log_attribute: tuple[Doubles, ...]
    """One float64 ``[values, A]`` per attribute."""
    log_bought: tuple[Doubles, Doubles, Doubles]
    """float64 ``[320, A]``, ``[5, A]``, ``[8, A]``: leaf, price tier and style of a purchase."""
    log_asked: tuple[Doubles, Doubles, Doubles]
    """float64 ``[320, A]``, ``[6, A]``, ``[9, A]``: of a query; row 0 of words: not said."""
    item_fields: tuple[Ints, Ints, Ints]
    """int32 ``[I]`` each: leaf, price tier from 0, style."""

    @classmethod
    def build(cls, world: World) -> "BayesReader":
        """Draw many purchases and queries of users of every archetype, and count."""
        items = world.items
        fields = (items.leaf, items.tier - 1, items.style)
        sizes = (len(LEAF_NAMES), len(PRICE_TIERS), len(STYLES))
        n = len(world.archetypes.weight)
        bought_counts = [np.zeros((size, n)) for size in sizes]
        asked_counts = [np.zeros((size, n)) for size in (sizes[0], sizes[1] + 1, sizes[2] + 1)]
        for number in range(ROUNDS):
            users, events, queries = _sample(world, number)
            archetype = users[events.user]
            for counts, field in zip(bought_counts, fields, strict=True):
                np.add.at(counts, (field[events.item], archetype), 1)
            archetype = users[queries.user]
            said = (queries.leaf, queries.price, queries.style)
            for counts, words in zip(asked_counts, said, strict=True):
                np.add.at(counts, (words, archetype), 1)
        shares = _leaf_shares(world)
        return cls(
            log_weight=np.log(world.archetypes.weight),
            log_attribute=_log_attributes(world),
            log_bought=_logs(bought_counts, shares),
            log_asked=_logs(asked_counts, shares),
            item_fields=fields,
        )

    def log_posterior(self, attributes: Ints, purchases: Events, queries: Queries) -> Doubles:
        """Weigh the archetypes of users.

        Args:
            attributes: int32 ``[N, 6]``; -1 = missing.
            purchases: their purchases; ``user`` counts rows of ``attributes``.
            queries: their queries.

        Returns:
            float64 ``[N, A]``: log probability of each archetype.
        """
        log = np.repeat(self.log_weight[None, :], len(attributes), axis=0)
        for field, table in enumerate(self.log_attribute):
            known = np.flatnonzero(attributes[:, field] >= 0)
            log[known] += table[attributes[known, field]]
        for values, table in zip(self.item_fields, self.log_bought, strict=True):
            np.add.at(log, purchases.user, table[values[purchases.item]])
        said = (queries.leaf, queries.price, queries.style)
        for words, table in zip(said, self.log_asked, strict=True):
            np.add.at(log, queries.user, table[words])
        log -= log.max(axis=1, keepdims=True)
        posterior: Doubles = log - np.log(np.exp(log).sum(axis=1, keepdims=True))
        return posterior


def _sample(world: World, number: int) -> tuple[Ints, Events, Queries]:
    """Archetypes of a block of users drawn evenly from all, their purchases and queries."""
    rng = stream(world.seed, Stream.READER, number)
    users = world.users(number)
    even = (np.arange(len(users)) % len(world.archetypes.weight)).astype(np.int32)
    omega = rng.standard_normal(users.omega.shape).astype(np.float32)
    users = replace(
        users,
        archetype=even,
        omega=omega,
        leaf_taste=np.einsum("nf,lf->nl", omega, world.leaves.factors),
        delta=(world.constants.price_taste * rng.standard_normal(len(users))).astype(np.float32),
        eta=rng.standard_normal(users.eta.shape).astype(np.float32),
    )
    user = np.repeat(np.arange(len(users)), EVENTS_PER_USER)
    events = bought(rng, world.constants, world.policy, users, user)
    return even, events, asked(rng, world.constants, world.policy, users, user)


def _leaf_shares(world: World) -> Doubles:
    """float64 ``[320, A]``: leaves that archetypes draw, before anything chooses among them."""
    constants, archetypes = world.constants, world.archetypes
    log = constants.leaf_scale * archetypes.utility + world.leaves.log_weight
    own = np.exp(log)
    own /= own.sum(axis=1, keepdims=True)
    explored = np.exp(world.leaves.log_weight)
    gift = 1 - constants.own_share - constants.explore_share
    others = gift * (archetypes.weight @ own)
    shares: Doubles = (
        constants.own_share * own
        + constants.explore_share * explored / explored.sum()
        + others[None, :]
    )
    return shares.T


def _logs(counts: list[Doubles], leaf_shares: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    smoothed = [counts[0] + SMOOTHING * leaf_shares, counts[1] + 1, counts[2] + 1]
    leaf, price, style = (np.log(values / values.sum(axis=0)) for values in smoothed)
    return leaf, price, style


def _log_attributes(world: World) -> tuple[Doubles, ...]:
    noise = world.constants.attribute_noise
    tables = []
    for field, values in enumerate(ATTRIBUTES.values()):
        is_mode = np.arange(len(values))[:, None] == world.archetypes.modes[None, :, field]
        tables.append(np.log((1 - noise) * is_mode + noise / len(values)))
    return tuple(tables)


def right(log_posterior: Doubles, archetype: Ints) -> NDArray[np.bool_]:
    """Whether the most likely archetype is the true one: bool ``[N]``."""
    is_right: NDArray[np.bool_] = log_posterior.argmax(axis=1) == archetype
    return is_right
