"""Random streams: one for every part of a world and every block of users."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream is drawn for; the numbers are part of the simulator's definition."""

    CATEGORIES = 0
    ARCHETYPES = 1
    ITEMS = 2
    USERS = 3
    CLICKS = 4
    PURCHASES = 5
    QUERIES = 6
    PANEL = 7
    PAST_CLICKS = 8
    READER = 9


def stream(seed: int, part: Stream, block: int = 0) -> np.random.Generator:
    """The generator of one part of a world.

    Args:
        seed: the world's number.
        part: what is drawn.
        block: the block of users; 0 for what belongs to the world as a whole.

    Returns:
        A generator that depends on these three numbers alone, so that blocks can be made anywhere
        and in any order.

    Source: docs/simulator.md.
    """
    return np.random.Generator(np.random.SFC64([seed, int(part), block]))
