"""Who has reported lately: nobody drops out of sight unnoticed."""

from dataclasses import dataclass

import pytest

from model.desired import Target
from service.control import roll
from service.control.roll import Roll
from service.lifecycle.states import ReplicaState
from tests.control import replica_state, worker_state

LIFE_S = 5.0


@dataclass
class Clock:
    """A clock that a test turns."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        """As ``time.monotonic``."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The roll's clock."""
    turned = Clock()
    monkeypatch.setattr(roll, "time", turned)
    return turned


def _report(name: str, *, draining: bool = False) -> ReplicaState:
    worker = worker_state(0, 1, Target(1, "g1"), draining=draining)
    return replica_state(name, workers=(worker,))


def _names(states: object) -> list[str]:
    assert isinstance(states, list)
    return [state.replica for state in states]


def test_report_that_the_store_lost_counts_for_its_time(clock: Clock) -> None:
    """An emptied store makes no order forget a replica that reported a moment ago."""
    called = Roll(LIFE_S, "a")
    called.call([_report("a"), _report("b")])
    clock.now_s += 4.0
    assert _names(called.call([_report("a")])) == ["a", "b"]
    assert called.silent() == {}


def test_replica_that_stops_reporting_is_named_with_its_silence(clock: Clock) -> None:
    """Whoever drops out is told by name, and no more once it is back or long gone."""
    called = Roll(LIFE_S, "a")
    called.call([_report("b")])
    clock.now_s += 8.0
    assert _names(called.call([])) == []
    assert called.silent() == {"b": 8.0}
    back = ReplicaState(replica="b", host="host", when_s=2.0, revision=1)
    assert _names(called.call([back])) == ["b"]
    assert called.silent() == {}
    clock.now_s += roll.MISSED_S + 1.0
    called.call([])
    assert called.silent() == {}


def test_replica_never_misses_itself(clock: Clock) -> None:
    """A store that does not answer is told as such, not as the silence of whoever asks."""
    called = Roll(LIFE_S, "a")
    called.call([_report("a"), _report("b")])
    clock.now_s += 11.0
    assert called.silent() == {"b": 11.0}


def test_replica_that_ended_as_it_said_is_not_missed(clock: Clock) -> None:
    """Stopping a replica in order raises no question."""
    called = Roll(LIFE_S, "a")
    called.call([_report("b", draining=True)])
    clock.now_s += 8.0
    called.call([])
    assert called.silent() == {}


def test_replica_in_the_store_counts_whatever_its_age_here(clock: Clock) -> None:
    """The store's own clock decides who lives there."""
    called = Roll(LIFE_S, "a")
    called.call([_report("b")])
    clock.now_s += 5.5
    assert _names(called.call([_report("b")])) == ["b"]
