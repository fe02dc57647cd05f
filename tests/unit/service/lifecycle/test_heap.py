"""The heap: what is let go leaves it, and what stays costs nothing."""

import gc
from pathlib import Path

from service.lifecycle.heap import keep_heap, trim_heap

PIECE = 50_000
"""Bytes: small enough to come from the heap, large enough to fill pages."""


def _held_bytes() -> int:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def test_holes_go_back_to_the_system() -> None:
    """Memory that was freed in the middle is no longer the process's."""
    pieces = [bytes([1]) * PIECE for _ in range(2000)]
    full = _held_bytes()
    last = pieces.pop()  # nothing goes back by itself as long as the end is in use
    pieces.clear()
    gc.collect()
    if not trim_heap():
        return
    assert full - _held_bytes() > 1000 * PIECE
    assert len(last) == PIECE


def test_what_stays_is_not_searched() -> None:
    """No request waits while everything that the process is made of is looked through again."""
    keep_heap()
    try:
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < gc.get_freeze_count()
    finally:
        gc.unfreeze()
