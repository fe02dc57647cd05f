"""The bench of swaps: what it takes for a failure, a mixture, a leak or a slower answer."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench_swap import Finished, unnoticed
from loadtests.swaps.callers import Answer
from loadtests.swaps.fingerprints import Fingerprints
from loadtests.swaps.limits import complaints
from loadtests.swaps.parts import FULL, QUICK
from loadtests.swaps.rollbacks import Rollback, rollback_figures
from loadtests.swaps.shop import Ask
from loadtests.swaps.stage import FIRST, course
from loadtests.swaps.swapping import Swap, memory_growth, out_of_turn
from loadtests.swaps.tiny_shop import TinyShop
from loadtests.swaps.windows import Window, compared, turns
from model.desired import Target

TARGETS = course(2)
SECOND, THIRD = TARGETS[1:]


@pytest.fixture(scope="module")
def fingerprints() -> Fingerprints:
    """Of three targets that follow one another."""
    return Fingerprints(TinyShop(), TARGETS)


def _said(
    ask: Ask, named: Target, scored_by: Target | None = None, **fields: Any
) -> dict[str, Any]:
    """The answer of one target in the name of another."""
    scored = TinyShop().expected(scored_by or named, ask)
    return {
        "model_version": named.version,
        "generation": named.generation,
        "individual_logits": scored.individual.tolist(),
        "group_logits": scored.group.tolist(),
        "alpha_fusion": scored.alpha_fusion,
        "degraded": [],
        **fields,
    }


def _answer(target: Target | None, sent_s: float, ended_s: float, **fields: Any) -> Answer:
    said = {"pid": 1, "fault": None, "mixed": False, "degraded": False, **fields}
    return Answer(planned_s=sent_s, sent_s=sent_s, ended_s=ended_s, target=target, **said)


def test_models_and_generations_move_in_turn() -> None:
    """Every swap moves one of the two by one; where versions are few, they begin again."""
    targets = course(6)
    assert len(set(targets)) == 7
    assert [str(target) for target in targets[:4]] == ["1/g0", "2/g0", "2/g1", "3/g1"]
    again = [str(target) for target in course(5, versions=2)]
    assert again == ["1/g0", "2/g0", "2/g1", "1/g1", "1/g0", "2/g0"]


def test_right_answers_are_right(fingerprints: Fingerprints) -> None:
    """Each target's own scores pass for it, in single answers and in batches."""
    for number, template in enumerate(fingerprints.templates):
        for target in TARGETS:
            said = [_said(ask, target) for ask in template.asks]
            document = said[0] if len(said) == 1 else {"responses": said}
            judged = fingerprints.judge(number, 200, orjson.dumps(document))
            assert (judged.target, judged.fault, judged.mixed) == (target, None, False)


@pytest.mark.parametrize(("named", "by"), [(FIRST, SECOND), (SECOND, THIRD), (THIRD, SECOND)])
def test_scores_of_another_target_are_a_mixture(
    fingerprints: Fingerprints, named: Target, by: Target
) -> None:
    """Whatever the request, and whether the model or the records are another's."""
    for number, template in enumerate(fingerprints.templates):
        if len(template.asks) == 1:
            document = _said(template.asks[0], named, by)
            assert fingerprints.judge(number, 200, orjson.dumps(document)).mixed


def test_batch_of_two_targets_is_a_mixture(fingerprints: Fingerprints) -> None:
    """One answer names one version and one generation."""
    number, template = next((n, t) for n, t in enumerate(fingerprints.templates) if len(t.asks) > 1)
    said = [_said(ask, FIRST) for ask in template.asks[:-1]]
    said.append(_said(template.asks[-1], SECOND))
    judged = fingerprints.judge(number, 200, orjson.dumps({"responses": said}))
    assert judged.mixed
    assert "one answer by" in str(judged.fault)


def test_refusals_and_silence_are_failures(fingerprints: Fingerprints) -> None:
    """A problem is told by its code; a degraded answer is counted for itself."""
    problem = orjson.dumps({"code": "not_ready"})
    assert fingerprints.judge(1, 503, problem).fault == "status 503: not_ready"
    assert "status 0" in str(fingerprints.judge(1, 0, b"").fault)
    said = _said(fingerprints.templates[1].asks[0], FIRST, degraded=["redis_timeout"])
    judged = fingerprints.judge(1, 200, orjson.dumps(said))
    assert (judged.fault, judged.mixed, judged.degraded) == (None, False, True)


@pytest.mark.parametrize(
    ("target", "sent_s", "ended_s", "wrong"),
    [
        (FIRST, 0.0, 0.1, False),
        (FIRST, 11.9, 12.1, False),  # the swap was carried out while it was under way
        (FIRST, 12.1, 12.2, True),  # every worker had said that it was replaced
        (SECOND, 9.8, 9.9, True),  # nobody had asked for it
        (SECOND, 9.9, 10.1, False),
        (SECOND, 30.0, 30.1, False),
        (THIRD, 30.0, 30.1, True),
    ],
)
def test_answers_come_from_targets_in_their_turn(
    target: Target, sent_s: float, ended_s: float, wrong: bool
) -> None:
    """From the order for a target to the end of the order for the next one, and no longer."""
    swaps = [Swap(SECOND, 10.0, 12.0, 1)]
    assert out_of_turn(FIRST, swaps, [_answer(target, sent_s, ended_s)]) == wrong


def test_leak_grows_and_steady_memory_does_not() -> None:
    """Growth counts from the end of the warm-up; what comes once is no leak."""

    def growth(sizes: Sequence[int]) -> dict[str, Any]:
        return memory_growth([Swap(FIRST, 0.0, 1.0, size) for size in sizes], 8)

    steady = growth([100, 500, *[1000, 1010] * 13])
    assert (steady["memory_growth"], steady["memory_growth_200"]) == (0, 0)
    once = growth([1000] * 20 + [1020] * 8)
    assert (once["memory_growth"], once["memory_growth_200"]) == (0.02, 0)
    leaking = growth([1000 + swap for swap in range(28)])
    assert math.isclose(leaking["memory_growth_200"], 0.2, rel_tol=0.01)
    assert complaints(leaking).keys() == {"memory_growth_200"}


def test_slow_swaps_show_against_quiet_times() -> None:
    """The ratio is that of the p99s; without an effect both ratios are about 1."""
    moments = [(float(n), n + 0.3) for n in range(0, 200, 2)]
    windows = turns(moments, 0.2)
    chance = np.random.default_rng(0)

    def answers(slower: float) -> list[Answer]:
        found = []
        for at_s in chance.uniform(0, 200, 20_000):
            busy = at_s % 2 < 0.5
            latency_s = 0.005 * chance.exponential() * (slower if busy else 1)
            found.append(_answer(FIRST, float(at_s), float(at_s + latency_s)))
        return found

    figures = compared(windows, answers(slower=2.0))
    assert 1.8 < figures["p99_ratio"] < 2.2
    assert 0.9 < figures["aa_ratio"] < 1.1
    assert 1.7 < figures["p99_ratio_paired"] < 2.3
    assert 0.9 < figures["aa_ratio_paired"] < 1.1
    low, high = compared(windows, answers(slower=1.0))["p99_ratio_interval"]
    assert low < 1 < high
    assert "p99_ratio" in complaints(figures)
    assert "p99_ratio" in complaints(compared([Window(0, 1, busy=True)], []))


@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=20), st.floats(0, 2))
def test_windows_cover_all_time_once(pauses: list[float], settle_s: float) -> None:
    """From the first order to the last, busy and quiet in turn, however close orders lie."""
    begins = np.cumsum(pauses).tolist()
    moments = [(begin_s, begin_s + 0.005) for begin_s in begins]
    windows = turns(moments, settle_s)
    edges = [edge for window in windows for edge in (window.begin_s, window.end_s)]
    assert edges == sorted(edges)
    assert all(a.end_s == b.begin_s for a, b in pairwise(windows))
    assert [window.busy for window in windows] == [True, False] * (len(moments) - 1)


def test_rollback_waits_for_the_last_worker() -> None:
    """What counts is the worker that is last to answer by the old version."""
    made = [Rollback(FIRST, 100.0, 100.2)]
    answers = [
        _answer(SECOND, 100.0, 100.15, pid=1),
        _answer(FIRST, 100.05, 100.1, pid=1),
        _answer(FIRST, 100.2, 100.25, pid=2),
        _answer(FIRST, 100.3, 100.35, pid=2),
    ]
    figures = rollback_figures(made, answers)
    assert (figures["rollback_s"], figures["last_of_new_s"]) == (0.25, 0.15)


def test_worker_that_never_goes_back_makes_a_rollback_endless() -> None:
    """A worker that goes on with the new version, or dies, is not left out of the figure."""
    made = [Rollback(FIRST, 100.0, 100.2)]
    back = _answer(FIRST, 100.05, 100.1, pid=1)
    for other in (_answer(SECOND, 100.3, 100.4, pid=2), _answer(None, 100.3, 100.3, pid=2)):
        figures = rollback_figures(made, [back, other])
        assert figures["rollback_s"] == math.inf
        assert "rollback_s" in complaints(figures)


def test_fault_is_noticed_by_its_own_figure() -> None:
    """A slow machine that spoils a ratio is no proof that the bench sees a leak."""
    (told,) = unnoticed({"leak": {"noticed": {"p99_ratio": "2"}}})
    assert "leak: this planted fault did not show in memory_growth_200" in told
    assert unnoticed({"mixture": {"noticed": {"mixed": "3"}}}) == []


def test_degraded_answers_fall_short() -> None:
    """An answer whose scores cannot be compared is no proof that nothing was mixed."""
    degraded = _answer(FIRST, 100.05, 100.1, degraded=True)
    assert rollback_figures([Rollback(FIRST, 100.0, 100.2)], [degraded])["rollback_failed"] == 1
    assert complaints({"degraded": 1}).keys() == {"degraded"}


def test_figures_that_are_no_numbers_fall_short() -> None:
    """A ratio of nothing over nothing is within no limit, and what was not measured is passed."""
    assert set(complaints({"p99_ratio": math.nan, "failed": 0})) == {"p99_ratio"}
    found = {"answers": 99_999, "canary_sticky": 1.0}
    assert complaints(found, answers=100_000).keys() == {"answers"}
    assert complaints(found) == {}


def test_interrupted_bench_goes_on_where_it_was(tmp_path: Any) -> None:
    """Parts that are done are not measured again, unless the plan or the commit is another one."""
    path = tmp_path / "swap.unfinished.json"
    Finished(path, FULL, "a1").part("swaps", lambda: {"failed": 0})

    def fail() -> dict[str, Any]:
        raise AssertionError

    assert Finished(path, FULL, "a1").part("swaps", fail)["failed"] == 0
    assert Finished(path, FULL, "b2").part("swaps", lambda: {"failed": 1})["failed"] == 1
    assert Finished(path, QUICK, "b2").part("swaps", lambda: {"failed": 2})["failed"] == 2
    assert json.loads(path.read_text())["loads"].keys() == {"swaps"}
