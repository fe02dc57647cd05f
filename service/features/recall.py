"""Recall: priors that will be asked for soon are read before a swap, not by its first callers."""

import asyncio
from collections.abc import Callable, Sequence

from service.features.reader import Prefix, RecordReader
from service.features.store import StoreUnavailable

AT_ONCE = 8
"""Priors decoded in one go, about a millisecond, in which nobody is answered."""
REST_S = 0.003
"""After each."""
LIMIT_S = 2.0
"""For all of them: whoever ordered a swap waits for it."""


async def recall(
    reader: RecordReader, prefixes: Sequence[Prefix], wanted: Callable[[], bool]
) -> None:
    """Read priors, a few at a time, between the answers of others.

    It ends early with a store that fails, and after ``LIMIT_S``: answers ask for the rest.

    Args:
        reader: of the model that will serve.
        prefixes: what another reader keeps, the most recently used last.
        wanted: whether anybody waits for it still.
    """
    end_s = asyncio.get_running_loop().time() + LIMIT_S
    for end in range(len(prefixes), 0, -AT_ONCE):
        if asyncio.get_running_loop().time() > end_s or not wanted():
            return
        try:
            await reader.keep(prefixes[max(end - AT_ONCE, 0) : end])
        except StoreUnavailable:
            return
        await asyncio.sleep(REST_S)
