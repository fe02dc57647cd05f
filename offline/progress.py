"""Progress bars for work a person waits for."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a bar on stderr shows count, rate and time left.

    Without a terminal the bar shows every 10 seconds, so that logs stay readable.
    """
    interval = 0.1 if sys.stderr.isatty() else 10.0
    yield from tqdm(items, desc=label, total=total, mininterval=interval, leave=False)
