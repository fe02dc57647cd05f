"""Freed memory that stays."""

import ctypes
from types import SimpleNamespace

import pytest

from offline.memory import KEPT_BYTES, keep_freed


def test_the_c_library_is_asked_to_keep_what_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both thresholds above which memory is handed back are raised."""
    asked: list[int] = []

    def mallopt(_: int, value: int) -> int:
        asked.append(value)
        return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert keep_freed()
    assert asked == [KEPT_BYTES, KEPT_BYTES]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such setting, training goes on without it."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not keep_freed()
