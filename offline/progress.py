"""Progress bars for work a person waits for."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a bar on stderr shows count, rate and time left.

    Without a terminal the bar shows every 10 seconds, so that logs stay readable.
    """
    yield from tqdm(items, desc=label, total=total, mininterval=_interval(), leave=False)


@contextmanager
def track_rows(label: str, total: int) -> Iterator[Callable[[int], object]]:
    """The same bar for work that goes on by several rows at a time: call it with their number."""
    with tqdm(
        desc=label, total=total, mininterval=_interval(), leave=False, unit_scale=True
    ) as bar:
        yield bar.update


def _interval() -> float:
    return 0.1 if sys.stderr.isatty() else 10.0
