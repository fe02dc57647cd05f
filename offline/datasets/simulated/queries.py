"""Queries: the texts that users search by."""

from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from offline.datasets.simulated.archetypes import Ints
from offline.datasets.simulated.names import LEAF_NAMES, PRICE_TIERS, STYLES

PRICE_WORDS: Final = ("", *PRICE_TIERS)
STYLE_WORDS: Final = ("", *STYLES)

_TEXTS: Final = tuple(
    " ".join(filter(None, words)) for words in product(PRICE_WORDS, STYLE_WORDS, LEAF_NAMES)
)
QUERIES: Final = tuple(sorted(_TEXTS))
"""Every possible query, in the order of their texts."""
_RANK: Final = np.argsort(np.argsort(np.array(_TEXTS))).reshape(
    len(PRICE_WORDS), len(STYLE_WORDS), len(LEAF_NAMES)
)
_ORDER: Final = np.argsort(np.array(_TEXTS))


def query_code(leaf: Ints, price: Ints, style: Ints) -> NDArray[np.int64]:
    """Position in ``QUERIES`` of each query.

    Args:
        leaf: int32 ``[N]``.
        price: int32 ``[N]``, 0 = no price word.
        style: int32 ``[N]``, 0 = no style word.

    Returns:
        int64 ``[N]``.
    """
    return _RANK[price, style, leaf]


def query_words(code: NDArray[np.int64]) -> tuple[Ints, Ints, Ints]:
    """Leaf, price and style of queries by their position in ``QUERIES``; undoes ``query_code``."""
    price, style, leaf = np.unravel_index(_ORDER[code], _RANK.shape)
    return leaf.astype(np.int32), price.astype(np.int32), style.astype(np.int32)
