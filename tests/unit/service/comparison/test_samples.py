"""Samples: a datagram that never waits."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.comparison.samples import (
    Sample,
    SampleSender,
    listen_for_samples,
    read_sample,
    socket_path,
)

SAMPLE = Sample(
    user_id="u",
    item_ids=["a", "b"],
    time_s=1_700_000_000,
    hour=3,
    weekday=6,
    attributes={"age": 30, "city": None},
    request_id="r",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="choirrec-") as name:
        yield Path(name)


def test_sample_arrives_as_it_was_sent(folder: Path) -> None:
    """The comparison scores the very request, at its very moment."""
    with listen_for_samples(socket_path(folder, "shadow")) as listener:
        sender = SampleSender(folder)
        assert sender.send(SAMPLE, "shadow")
        assert read_sample(listener.recv(1 << 16)) == SAMPLE
        sender.close()


def test_full_queue_drops_and_says_so(folder: Path) -> None:
    """Nobody's answer waits for a comparison that is behind: it is shed first."""
    with listen_for_samples(socket_path(folder, "shadow")):
        sender = SampleSender(folder)
        taken = [sender.send(SAMPLE, "shadow") for _ in range(5_000)]
        assert taken[0]
        assert not taken[-1]
        sender.close()


def test_nobody_listening_and_too_large_samples_are_dropped(folder: Path) -> None:
    """A comparison that has not begun, has died, or cannot take so much costs nothing."""
    sender = SampleSender(folder)
    assert not sender.send(SAMPLE, "canary")
    with listen_for_samples(socket_path(folder, "canary")):
        huge = Sample(
            user_id="u",
            item_ids=["x" * 64] * 50_000,
            time_s=0,
            hour=0,
            weekday=0,
            attributes=None,
            request_id="r",
        )
        assert not sender.send(huge, "canary")
    assert not sender.send(SAMPLE, "canary")
    sender.close()


def test_comparison_that_is_spawned_again_listens_again(folder: Path) -> None:
    """A stale socket of a killed one is no obstacle."""
    path = socket_path(folder, "canary")
    listen_for_samples(path).close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    with listen_for_samples(path) as listener:
        sender = SampleSender(folder)
        assert sender.send(SAMPLE, "canary")
        assert listener.recv(1 << 16)
        sender.close()
