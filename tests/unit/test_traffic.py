"""The traffic of load tests: what is drawn, what is refused, which answers are right."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.traffic import Profile, Traffic, UnusableTraffic, check_address, fault

USERS = [{"user_id": f"user-{n}", "activity_level": 1 + n % 5} for n in range(20)]
LOW = [f"user-{n}" for n in range(20) if n % 5 < 2]
LOAD: dict[str, Any] = {
    "url": "http://127.0.0.1:8080/",
    "users": USERS,
    "item_ids": [f"item-{n}" for n in range(100)],
    "request_time": 1_500_000_000,
}
ASKED = ["a", "b", "a"]
ids = st.lists(st.text(max_size=4), min_size=1, max_size=5)


def _traffic(folder: Path, profile: Profile, **fields: object) -> Traffic:
    path = folder / "load.json"
    path.write_text(json.dumps(LOAD | fields))
    return Traffic.from_file(path, profile)


def _answer(items: object, scores: object) -> bytes:
    return json.dumps({"item_ids": items, "scores": scores}).encode()


def _drawn(profile: Profile, chance: random.Random) -> list[dict[str, Any]]:
    others = [f"user-{n}" for n in range(20) if n % 5 >= 2]
    traffic = Traffic("http://127.0.0.1", LOW, others, LOAD["item_ids"], 0.0, profile)
    return [traffic.draw(chance) for _ in range(60)]


@pytest.mark.parametrize(("share", "low"), [(0.0, False), (1.0, True)])
@given(chance=st.randoms(use_true_random=False))
def test_share_of_low_activity_users_is_kept(
    share: float, low: bool, chance: random.Random
) -> None:
    """A load test of low-activity users asks for nobody else, and the other way round."""
    drawn = _drawn(Profile(sizes=(1,), low_share=share), chance)
    assert {body["user_id"] in LOW for body in drawn} == {low}


@given(chance=st.randoms(use_true_random=False))
def test_calls_have_the_sizes_asked_for_and_no_item_twice(chance: random.Random) -> None:
    """Every call has one of the profile's sizes, and its candidates are distinct."""
    drawn = [body["item_ids"] for body in _drawn(Profile(sizes=(1, 50)), chance)]
    assert {len(items) for items in drawn} <= {1, 50}
    assert all(len(set(items)) == len(items) for items in drawn)


def test_environment_sets_the_profile() -> None:
    """A person chooses the mix without editing a file."""
    variables = {"CHOIRREC_LOAD_CANDIDATES": "2, 9", "CHOIRREC_LOAD_LOW_SHARE": "1"}
    assert Profile.from_environment(variables) == Profile(sizes=(2, 9), low_share=1.0)
    assert Profile.from_environment({}) == Profile()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHOIRREC_LOAD_CANDIDATES", "many"),
        ("CHOIRREC_LOAD_CANDIDATES", "0,5"),
        ("CHOIRREC_LOAD_LOW_SHARE", "1.5"),
        ("CHOIRREC_LOAD_LOW_SHARE", "nan"),
    ],
)
def test_unusable_variable_is_named(name: str, value: str) -> None:
    """A mistyped variable is told by name and value, and never replaced in silence."""
    with pytest.raises(UnusableTraffic, match=f"{name} is '{value}', expected"):
        Profile.from_environment({name: value})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"item_ids": ["only"]}, "asks for 50 candidates, .* holds 1 items"),
        ({"users": USERS[:1]}, "holds 1 users of levels .* and 0 others"),
        ({"users": [{"user_id": "u"}]}, "not as the demo writes it .*activity_level"),
        ({"request_time": "noon"}, "not as the demo writes it"),
    ],
)
def test_unusable_file_is_told_before_the_first_call(
    tmp_path: Path, fields: Mapping[str, object], words: str
) -> None:
    """No load test begins on a file that cannot carry it."""
    with pytest.raises(UnusableTraffic, match=words):
        _traffic(tmp_path, Profile(sizes=(50,)), **fields)


def test_missing_file_names_the_way_to_it(tmp_path: Path) -> None:
    """Whoever starts before the demo reads what to do first."""
    with pytest.raises(UnusableTraffic, match="run `make demo` first"):
        Traffic.from_file(tmp_path / "load.json", Profile())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_this_machine_may_be_loaded(url: str) -> None:
    """Loopback in every spelling is this machine."""
    check_address(url)


@pytest.mark.parametrize("url", ["http://scoring.example:1", "http://10.0.0.1", "127.0.0.1:8080"])
def test_other_machines_are_refused(url: str) -> None:
    """No file can direct load at another machine."""
    with pytest.raises(UnusableTraffic, match="--host"):
        check_address(url)


@given(ids, st.data())
def test_right_answers_have_no_fault(items: list[str], data: st.DataObject) -> None:
    """Whatever the items and the scores, an answer in order with probabilities is right."""
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(items), max_size=len(items)))
    assert fault(200, _answer(items, scores), items) is None


@given(ids, st.randoms(use_true_random=False))
def test_another_order_is_a_fault(items: list[str], chance: random.Random) -> None:
    """An answer whose items moved is never taken for a right one."""
    moved = chance.sample(items, len(items))
    found = fault(200, _answer(moved, [0.5] * len(items)), items)
    assert (found is None) == (moved == items)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b"", "status 503"),
        (200, b"<html>", "not an answer"),
        (200, b"[]", "not an answer"),
        (200, b"{}", "not an answer"),
        (200, _answer(ASKED[:2], [0.5] * 2), "item_ids are not"),
        (200, _answer(ASKED, [0.5] * 2), "one score per candidate"),
        (200, _answer(ASKED, 0.5), "one score per candidate"),
        (200, _answer(ASKED, [0.5, 0.5, float("nan")]), "finite number"),
        (200, _answer(ASKED, [0.5, 0.5, 1.5]), "finite number"),
        (200, _answer(ASKED, [0.5, 0.5, None]), "finite number"),
        (200, _answer(ASKED, [0.5, 0.5, True]), "finite number"),
    ],
)
def test_faults_are_told_apart(status: int, body: bytes, words: str) -> None:
    """The summary of a run says in which way answers were wrong."""
    assert words in str(fault(status, body, ASKED))
