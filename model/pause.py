"""Pauses in long work, taken by whoever shares the processor with something urgent."""

from collections.abc import Callable

Pause = Callable[[], None]
"""Called again and again; returns when the work may go on."""


def no_pause() -> None:
    """Work on."""
