"""The forecast of the server memory that a generation will take, from a sample of its records."""

from collections.abc import Sequence
from dataclasses import dataclass

KEY_OVERHEAD_BYTES = 96
"""Beside key and value: a hash entry, its share of the hash table and the string headers.
Measured as 80 to 104 bytes on Redis 6.2, values rounded to their allocation (test_publish.py)."""
LIST_OVERHEAD_BYTES = 4
"""Beside the key itself, per entry of the generation's own id list."""
GENERATION_OVERHEAD_BYTES = 1 << 20
"""Meta document, lists, client buffers."""


@dataclass(frozen=True)
class Sample:
    """Sizes of some records of one kind, in bytes, and how many of the kind there are."""

    count: int
    keys: Sequence[int]
    values: Sequence[int]

    def forecast(self) -> int:
        """Bytes that all ``count`` records will take: the sampled mean times the count."""
        if not self.keys:
            return 0
        sizes = [
            record_bytes(key, value) for key, value in zip(self.keys, self.values, strict=True)
        ]
        return -(-sum(sizes) * self.count // len(sizes))


def forecast_bytes(samples: Sequence[Sample]) -> int:
    """Server memory of a generation, in bytes; errs on the safe side."""
    return GENERATION_OVERHEAD_BYTES + sum(sample.forecast() for sample in samples)


def record_bytes(key: int, value: int) -> int:
    """Server memory of one record of those sizes, its entry in the id list included."""
    return KEY_OVERHEAD_BYTES + 2 * key + LIST_OVERHEAD_BYTES + _allocated(value)


def _allocated(size: int) -> int:
    """Bytes an allocator hands out: four size classes per doubling, at least 16 apart."""
    step = max(16, 1 << max(size - 1, 1).bit_length() - 3)
    return -(-size // step) * step
