"""Windows: what is counted in them, when they end, and what survives restarts."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.control.guards import Limits
from service.control.windows import Pair, References, Windows, added, since
from service.lifecycle.states import ReplicaState, RoleCounts, WorkerState
from service.metrics import LATENCY_EDGES_S
from tests.guards import GOOD, sketch, window

PAIR = Pair("2/g", "1/g")
LIMITS = Limits(calls=100, answers=50)
UNREAD = References(None, None)
NOTHING = RoleCounts()
counts = st.builds(
    lambda calls, errors, column: RoleCounts(
        requests=calls,
        errors=errors,
        latency=tuple(column),
        score={"1": tuple(column)},
        alpha={"1": (calls, float(errors))},
        alpha_squares={"1": float(calls)},
    ),
    st.integers(0, 99),
    st.integers(0, 9),
    st.lists(st.integers(0, 9), min_size=3, max_size=3),
)


def _report(told: Mapping[str, RoleCounts], name: str = "r1", pid: int = 1) -> ReplicaState:
    worker = WorkerState(worker=0, pid=pid, revision=1, ready=True, counts=told)
    return ReplicaState(replica=name, host="h", when_s=0.0, revision=1, workers=(worker,))


def _calls(canary: int, champion: int = 1000, errors: int = 0) -> dict[str, RoleCounts]:
    return {
        "2/g": RoleCounts(requests=canary, errors=errors),
        "1/g": RoleCounts(requests=champion),
    }


@given(counts, counts)
def test_taking_away_undoes_adding(one: RoleCounts, other: RoleCounts) -> None:
    """What came between two looks is exactly what was answered between them."""
    assert since(one, added(one, other)) == other


@given(counts, counts)
def test_adding_has_no_order(one: RoleCounts, other: RoleCounts) -> None:
    """Replicas may report in any order."""
    assert added(one, other) == added(other, one)
    assert added(NOTHING, one) == one


def test_window_lasts_its_time_and_until_it_has_calls_enough() -> None:
    """Neither a quiet night nor a busy second makes a verdict out of too little."""
    windows = Windows(PAIR, LIMITS, 30.0, 0.0)
    assert windows.look([_report(_calls(0, 0))], UNREAD, 1.0) is None
    assert windows.look([_report(_calls(500))], UNREAD, 29.0) is None
    assert windows.look([_report(_calls(501))], UNREAD, 31.0) == []
    assert windows.look([_report(_calls(520, 2000))], UNREAD, 62.0) is None
    assert windows.look([_report(_calls(601, 2000))], UNREAD, 90.0) == []
    assert windows.judged == 2


def test_window_lasts_until_the_champion_has_calls_enough_too() -> None:
    """A canary of most users is not said to be without a fault before it could have shown one."""
    windows = Windows(PAIR, LIMITS, 30.0, 0.0)
    windows.look([_report(_calls(0, 0))], UNREAD, 0.0)
    assert windows.look([_report(_calls(900, 99))], UNREAD, 31.0) is None
    assert windows.judged == 0
    assert windows.look([_report(_calls(910, 100))], UNREAD, 62.0) == []
    assert windows.judged == 1


@pytest.mark.parametrize("calls_per_s", [10, 30, 100])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.55, 0.6, 0.8, 0.95])
def test_failing_canary_is_found_at_any_share(share: float, calls_per_s: int) -> None:
    """A canary whose every call fails is found once it has calls enough, whoever has most."""
    windows = Windows(PAIR, Limits(), 30.0, 0.0)
    windows.look([_report(_calls(0, 0))], UNREAD, 0.0)
    canary_s, champion_s = share * calls_per_s, (1 - share) * calls_per_s
    for now_s in range(1, 3600):
        canary, champion = round(canary_s * now_s), round(champion_s * now_s)
        if windows.look([_report(_calls(canary, champion, canary))], UNREAD, now_s):
            break
    assert now_s <= max(30, Limits().calls / canary_s) + 31


def test_few_calls_of_the_champion_raise_no_alarm_by_chance() -> None:
    """Where both fail alike, a champion with little traffic gets nobody rolled back."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        windows = Windows(PAIR, Limits(), 30.0, 0.0)
        told = _calls(0, 0)
        for now_s in range(0, 900, 10):
            assert not windows.look([_report(told)], UNREAD, float(now_s))
            more = {
                "2/g": RoleCounts(requests=190, errors=int(rng.binomial(190, 0.1))),
                "1/g": RoleCounts(requests=10, errors=int(rng.binomial(10, 0.1))),
            }
            told = {name: added(told[name], counts) for name, counts in more.items()}


def test_what_was_counted_before_the_first_look_is_left_out() -> None:
    """A guard that begins late, or a worker that is new to it, brings nothing of another time."""
    windows = Windows(PAIR, LIMITS, 0.0, 0.0)
    windows.look([_report(_calls(5000, 5000, errors=5000))], UNREAD, 1.0)
    assert windows.look([_report(_calls(5200, 5200, errors=5000))], UNREAD, 2.0) == []


def test_restarted_worker_is_counted_on_from_where_it_begins() -> None:
    """A worker that was killed neither takes its counts back nor gives them twice."""
    windows = Windows(PAIR, LIMITS, 0.0, 0.0)
    for told, pid in ((_calls(0, 0), 1), (_calls(60, 60), 1), (_calls(5, 5), 2)):
        assert windows.look([_report(told, pid=pid)], UNREAD, 1.0) is None
    assert windows.look([_report(_calls(50, 50), pid=2)], UNREAD, 2.0) == []


def test_replicas_are_summed() -> None:
    """Two replicas with half the calls each make a whole window."""
    windows = Windows(PAIR, LIMITS, 0.0, 0.0)
    names = ("r1", "r2")
    windows.look([_report(_calls(0, 0), name) for name in names], UNREAD, 1.0)
    found = windows.look([_report(_calls(60, 60, 20), name) for name in names], UNREAD, 2.0)
    assert found is not None
    (alarm,) = found
    assert alarm.evidence["errors"] == {"canary": 40, "champion": 0}


def test_levels_wait_for_answers_of_their_own() -> None:
    """A level with few users is judged over several windows, and then once."""
    rng = np.random.default_rng(0)
    reference = sketch(rng)
    references = References(reference, reference)
    windows = Windows(PAIR, Limits(calls=100, answers=200), 0.0, 0.0)
    bad, good = GOOD.altered(shift={1: 3.0}), GOOD
    told = {"2/g": NOTHING, "1/g": NOTHING}
    windows.look([_report(told)], references, 0.0)
    kinds = []
    for moment in range(1, 4):
        told = {
            "2/g": added(told["2/g"], window(rng, bad, reference, 120, 80)),
            "1/g": added(told["1/g"], window(rng, good, reference, 1200, 800)),
        }
        found = windows.look([_report(told)], references, float(moment))
        kinds.append([alarm.kind for alarm in found or ()])
    assert kinds == [[], [], ["drift"]]


def test_first_window_is_not_judged_for_latency() -> None:
    """A canary whose caches are still empty is no slow canary."""
    fast, slow = [0] * (len(LATENCY_EDGES_S) + 1), [0] * (len(LATENCY_EDGES_S) + 1)
    fast[2], slow[-2] = 400, 400
    windows = Windows(PAIR, LIMITS, 0.0, 0.0)
    windows.look([_report({"2/g": NOTHING, "1/g": NOTHING})], UNREAD, 0.0)
    told = {
        "2/g": RoleCounts(requests=400, latency=tuple(slow)),
        "1/g": RoleCounts(requests=400, latency=tuple(fast)),
    }
    assert windows.look([_report(told)], UNREAD, 1.0) == []
    twice = {name: added(counts, counts) for name, counts in told.items()}
    found = windows.look([_report(twice)], UNREAD, 2.0)
    assert [alarm.kind for alarm in found or ()] == ["latency"]
