"""A world: all that users of one seed share, calibrated."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from offline.datasets.simulated.archetypes import Archetypes, Leaves
from offline.datasets.simulated.calibration import Activity, bisect, calibrate_activity
from offline.datasets.simulated.clicks import Clicks, draw_clicks
from offline.datasets.simulated.constants import CONSTANTS, Constants
from offline.datasets.simulated.items import Items
from offline.datasets.simulated.policy import Policy
from offline.datasets.simulated.users import Users, draw_users


@dataclass(frozen=True, eq=False)
class World:
    """Archetypes, categories, items and the policy of one seed."""

    seed: int
    null: bool
    """Archetypes have no effect on behaviour (SIM-null)."""
    constants: Constants
    activity: Activity
    leaves: Leaves
    archetypes: Archetypes
    policy: Policy
    base: float
    """The logit's constant (b0)."""

    @property
    def items(self) -> Items:
        """Everything on sale."""
        return self.policy.items

    def users(self, block: int) -> Users:
        """The users of a block."""
        return draw_users(
            self.seed, block, self.constants, self.activity, self.archetypes, self.leaves
        )

    def clicks(self, users: Users) -> Clicks:
        """The clicks of a block's users."""
        return draw_clicks(self.seed, self.constants, self.policy, users, self.base)


def n_items(n_users: int) -> int:
    """Items of a world by its number of users."""
    wanted = round(n_users * CONSTANTS.items_per_user)
    return int(np.clip(wanted, CONSTANTS.fewest_items, CONSTANTS.most_items))


@cache
def make_world(seed: int, items: int, null: bool) -> World:
    """The world of a seed.

    The logit's constant is calibrated on the clicks of the world's own first blocks, whatever
    the number of users: worlds of more users begin with the same ones.

    Args:
        seed: the world's number.
        items: how many items are on sale.
        null: archetypes have no effect on behaviour (SIM-null).

    Returns:
        The world.

    Source: docs/simulator.md.
    """
    activity = calibrate_activity(CONSTANTS)
    leaves = Leaves.draw(seed, CONSTANTS)
    archetypes = Archetypes.draw(seed, CONSTANTS, null)
    policy = Policy.build(CONSTANTS, leaves, archetypes, Items.draw(seed, CONSTANTS, leaves, items))
    world = World(seed, null, CONSTANTS, activity, leaves, archetypes, policy, base=0.0)
    return replace(world, base=_calibrate_base(world))


def _calibrate_base(world: World) -> float:
    logit = np.concatenate(
        [
            world.clicks(world.users(block)).logit
            for block in range(world.constants.calibration_blocks)
        ]
    )
    return bisect(
        lambda base: (
            float((1 / (1 + np.exp(-(logit + np.float32(base))))).mean())
            - world.constants.conversion
        ),
        -15,
        5,
    )
