"""Rests: a load beside what serves leaves the cores to the answers most of the time."""

from pathlib import Path

import pytest

from model.repository import Repository
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.loading import BundleLoader
from service.lifecycle.rests import LONGEST_S, REST, Rests


class Clock:
    """A thread's time on a core, and how long it slept."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.worked_s = 0.0
        self.rests_s: list[float] = []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nobody sleeps in truth."""
    clock = Clock()
    monkeypatch.setattr("service.lifecycle.rests.time.thread_time", lambda: clock.worked_s)
    monkeypatch.setattr("service.lifecycle.rests.time.sleep", clock.rests_s.append)
    return clock


def test_a_rest_follows_the_work_before_it(clock: Clock) -> None:
    """Each lasts three times the work since the one before, so a load takes a quarter of a core."""
    rests = Rests()
    clock.worked_s = 0.01
    rests.take()
    clock.worked_s = 0.03
    rests.take()
    assert clock.rests_s == pytest.approx([REST * 0.01, REST * 0.02])


def test_no_rest_is_long(clock: Clock) -> None:
    """Hashing a large table is not followed by a long pause."""
    rests = Rests()
    clock.worked_s = 60.0
    rests.take()
    assert clock.rests_s == [LONGEST_S]


@pytest.mark.parametrize("beside", [True, False])
def test_only_loads_beside_what_serves_rest(home: Path, clock: Clock, *, beside: bool) -> None:
    """A start, which nobody waits behind, loads as fast as it can."""
    loader = BundleLoader(
        Repository(str(home / "repository")), home / "store", OnnxRuntimeBackend(1), 125
    )
    loader.load(1, lambda _: None, beside=beside)
    assert bool(clock.rests_s) == beside
