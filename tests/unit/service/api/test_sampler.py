"""The sampler: which requests are handed over, and that it never stands in the way."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model.desired import Canary, Shadow, Target
from service.api.sampler import Sampler
from service.api.scoring import Exchange
from service.api.wire import Call
from service.comparison.samples import listen_for_samples, read_sample, socket_path
from service.metrics import Metrics
from service.scorer import Moment
from tests.control import desired_state

CALL = Call("u", ["a", "b"], Moment(1_700_000_000, 3, 6), {"age": 30}, "r-1")
OTHER = Target(2, "g1")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="choirrec-") as name:
        yield Path(name)


def _count(metrics: Metrics, comparison: str, outcome: str) -> float:
    labels = {"comparison": comparison, "outcome": outcome}
    return metrics.registry.get_sample_value("choirrec_samples_total", labels) or 0.0


def _answered(calls: int) -> Exchange:
    return Exchange("batch", calls=[CALL] * calls)


def test_without_canary_and_shadow_nothing_is_sampled(folder: Path) -> None:
    """What nobody asked for costs nothing."""
    metrics = Metrics()
    sampler = Sampler(folder, 1.0, metrics)
    sampler.follow(desired_state())
    sampler(_answered(100))
    assert not any(_count(metrics, "shadow", outcome) for outcome in ("sent", "dropped"))
    sampler.close()


def test_shadow_gets_its_share_of_the_calls(folder: Path) -> None:
    """Each call of a batch is drawn for itself; what is dropped is counted."""
    metrics = Metrics()
    sampler = Sampler(folder, 0.0, metrics)
    sampler.follow(replace(desired_state(2), shadow=Shadow(OTHER, 0.3)))
    sampler(_answered(10_000))
    assert _count(metrics, "shadow", "dropped") == pytest.approx(3_000, abs=250)
    assert _count(metrics, "canary", "dropped") == 0
    sampler.follow(desired_state(3))
    sampler(_answered(1_000))
    assert _count(metrics, "shadow", "dropped") == pytest.approx(3_000, abs=250)
    sampler.close()


def test_sample_is_the_checked_call(folder: Path) -> None:
    """The comparison answers for the same user, candidates, moment and attributes."""
    metrics = Metrics()
    sampler = Sampler(folder, 1.0, metrics)
    sampler.follow(replace(desired_state(2), canary=Canary(OTHER, 0.1)))
    with listen_for_samples(socket_path(folder, "canary")) as listener:
        sampler(_answered(1))
        sample = read_sample(listener.recv(1 << 16))
    assert (sample.user_id, list(sample.item_ids)) == (CALL.user_id, CALL.item_ids)
    assert sample.attributes == CALL.attributes
    assert Moment(sample.time_s, sample.hour, sample.weekday) == CALL.moment
    assert _count(metrics, "canary", "sent") == 1
    sampler.close()
