"""The warm-up ends when latency is flat, and never lasts."""

import itertools
from pathlib import Path
from typing import Any, cast

import pytest

from model.bundle import Bundle, open_bundle
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle import warm_up as module
from service.lifecycle.rests import Rests
from service.lifecycle.warm_up import MAX_ROUNDS, WINDOW, warm_up
from service.scorer import Scorer


@pytest.fixture
def bundle(home: Path) -> Bundle:
    """Version 1."""
    return open_bundle(home / "repository" / "1")


def _rounds(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, seconds: Any) -> int:
    """Rounds of a warm-up whose scoring takes so long, call by call."""
    now_s, costs = 0.0, iter(seconds)

    def score(*_: Any) -> None:
        nonlocal now_s
        now_s += next(costs)

    monkeypatch.setattr(module, "score_golden", score)
    monkeypatch.setattr("service.lifecycle.warm_up.time.perf_counter", lambda: now_s)
    return warm_up(bundle, cast("Scorer", None), Rests(0))


def test_flat_latency_ends_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that are warm from the first run on cost a few rounds."""
    assert _rounds(bundle, monkeypatch, itertools.repeat(0.001)) == 2 * WINDOW


def test_falling_latency_is_waited_for(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it gets quicker the first callers would pay for it."""
    falling = itertools.chain((0.001 * 0.9**n for n in range(60)), itertools.repeat(0.00001))
    assert 2 * WINDOW < _rounds(bundle, monkeypatch, falling) <= MAX_ROUNDS


@pytest.mark.parametrize("factor", [0.8, 1.0])
def test_it_never_lasts(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """A machine that never settles, or is very slow, is not waited for."""
    slow = (2.0 * factor**n for n in itertools.count())
    assert _rounds(bundle, monkeypatch, slow) <= MAX_ROUNDS


def test_real_graphs_become_flat(bundle: Bundle) -> None:
    """With a real session it ends by itself."""
    session = OnnxRuntimeBackend(1).load(bundle.graphs)
    assert 2 * WINDOW <= warm_up(bundle, Scorer(bundle, session, 125), Rests(0)) <= MAX_ROUNDS
