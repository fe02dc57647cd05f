"""Memory: what one training step frees is kept for the next."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of two settings in glibc's ``malloc.h``."""
KEPT_BYTES = 1 << 30


def keep_freed() -> bool:
    """Let the process keep up to 1 GiB of freed memory.

    By default glibc hands large blocks back to the system when they are freed, and the next step
    pays for every page again: a fifth of a step's time at 1,024 rows of 50 purchases.

    Returns:
        Whether the C library took the setting; another one than glibc has none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(name, KEPT_BYTES) == 1 for name in (TRIM_THRESHOLD, MMAP_THRESHOLD))
