"""The feature store: what the service asks of whatever holds the records."""

from collections.abc import Sequence
from typing import Protocol


class StoreUnavailable(Exception):
    """The store could not be read; never reaches a caller, the ladder answers instead."""

    reason = "redis_unavailable"


class StoreTimeout(StoreUnavailable):
    """The store did not answer before the deadline."""

    reason = "redis_timeout"


class FeatureStore(Protocol):
    """Reads of records and of what generations say of themselves."""

    async def read(self, keys: Sequence[str], deadline_s: float) -> list[bytes | None]:
        """Read many keys in one round trip.

        Args:
            keys: at least one key.
            deadline_s: a moment of the event loop's clock; nothing waits beyond it.

        Returns:
            One value per key, None where there is none.

        Raises:
            StoreTimeout: at the deadline.
            StoreUnavailable: when the store cannot be reached or answers with an error.
        """
        ...

    async def complete_generations(self, deadline_s: float) -> list[str]:
        """Names of complete generations, newest last; errors as ``read``."""
        ...

    async def close(self) -> None:
        """Give back every connection."""
        ...
