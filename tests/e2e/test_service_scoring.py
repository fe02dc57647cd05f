"""The live service against plain numpy, and the ladder step by step."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.generation import group_key, user_key
from service.scorer import NonFinite, Scorer
from tests.fixtures.bundles import (
    ACTIVE_USER,
    AS_OF_S,
    ITEMS,
    NEW_ITEMS,
    QUIET_USER,
    USERS,
    World,
    make_world,
    publish,
    write_bundle,
)
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, body

TIME_S = AS_OF_S + 4000
item_lists = st.lists(st.sampled_from([*ITEMS, *NEW_ITEMS, "unseen"]), min_size=1, max_size=300)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([*USERS, "nobody"]), item_lists, st.integers(0, 23), st.integers(0, 6))
def test_answer_equals_the_reference(
    live: LiveService, world: World, user_id: str, item_ids: list[str], hour: int, weekday: int
) -> None:
    """Every column of a served answer is what the model's own arithmetic gives."""
    context = {"hour": hour, "weekday": weekday}
    found = live.score(user_id, item_ids, request_time=TIME_S, context=context)
    user = world.users.get(user_id)
    group = world.groups[user.prefix if user else ()]
    individual, shared, alpha = world.expected(user, group, TIME_S, hour, weekday, item_ids)
    fused = (1 - alpha) * individual + alpha * shared
    columns = {
        "individual_logits": individual,
        "group_logits": shared,
        "fused_logits": fused,
        "scores": 1 / (1 + np.exp(-fused)),
    }
    for name, expected in columns.items():
        assert np.all(
            np.abs(np.array(found[name]) - expected) <= 1e-5 * np.maximum(1, abs(expected))
        )
    assert found["item_ids"] == item_ids
    assert abs(found["alpha_fusion"] - alpha) < 1e-6


def test_answer_names_everything_it_rests_on(live: LiveService) -> None:
    """A caller can tell model, records, group and item statuses from the answer alone."""
    answer = live.score(ACTIVE_USER, [ITEMS[0], 7, NEW_ITEMS[0]], request_id="mine")
    assert answer["item_status"] == ["known", "unknown", "new"]
    assert answer["item_ids"] == [ITEMS[0], "7", NEW_ITEMS[0]]
    assert answer["user"] == {
        "status": "known",
        "activity_level": 5,
        "group_id": [2, 0],
        "confidence": None,
        "prefix_used": [2, 0],
    }
    assert (answer["model_version"], answer["generation"]) == (1, "g1")
    assert answer["bundle_digest"] == live.models()["models"][0]["bundle_digest"]
    assert answer["request_id"] == "mine"
    assert answer["degraded"] == ["item_unknown"]


def test_full_service_is_not_degraded(live: LiveService) -> None:
    """A known user, an own group and known items: nothing to report."""
    answer = live.score(QUIET_USER, list(ITEMS))
    assert answer["degraded"] == []
    assert answer["user"]["activity_level"] == 1


def test_group_channel_does_not_see_the_user(live: LiveService) -> None:
    """Two users of one prefix get the same group logits for an item, at any time."""
    answers = [
        live.score("user-1", list(ITEMS), request_time=TIME_S),
        live.score("user-4", list(ITEMS), request_time=TIME_S + 90_000),
    ]
    assert answers[0]["user"]["prefix_used"] == answers[1]["user"]["prefix_used"]
    assert answers[0]["group_logits"] == answers[1]["group_logits"]
    assert answers[0]["individual_logits"] != answers[1]["individual_logits"]


def test_batch_answers_as_single_requests_do(live: LiveService) -> None:
    """Batching changes nothing but the number of calls."""
    requests = [
        {"user_id": user_id, "item_ids": list(ITEMS[n : n + 5]), "request_time": TIME_S}
        for n, user_id in enumerate(["user-1", "nobody", "user-9"])
    ]
    reply = live.http.post("/score/batch", json={"requests": requests})
    assert reply.status_code == 200
    for request, together in zip(requests, reply.json()["responses"], strict=True):
        alone = live.score(request.pop("user_id"), request.pop("item_ids"), **request)
        assert {**alone, "request_id": ""} == {**together, "request_id": ""}


def test_headers_carry_request_id_and_version(live: LiveService) -> None:
    """Proxies and logs can correlate without reading bodies."""
    reply = live.post('{"user_id":"u","item_ids":["a"]}', **{"X-Request-ID": "from-header"})
    assert reply.headers["x-request-id"] == reply.json()["request_id"] == "from-header"
    assert reply.headers["x-model-version"] == "1"


@dataclass(frozen=True)
class Step:
    """What is missing, and what the answer then says."""

    user_id: str
    missing: tuple[tuple[int, ...], ...]
    step: str
    degraded: list[str]
    prefix_used: list[int]
    status: str
    activity_level: int


SHORTER, MISSING = "user_and_prefix_group", ["group_record_missing"]
LADDER = [
    Step("user-1", (), "user_and_group", [], [1, 2], "known", 2),
    Step("user-1", ((1, 2),), SHORTER, MISSING, [1], "known", 2),
    Step("user-1", ((1, 2), (1,)), "global_prior", MISSING, [], "known", 2),
    Step("nobody", (), "global_prior", ["user_unknown"], [], "unknown", 1),
]


@pytest.mark.parametrize("step", LADDER, ids=["own", "prefix", "global", "unknown"])
def test_each_step_of_the_ladder_is_flagged_and_counted(
    live: LiveService, world: World, redis_server: RedisServer, step: Step
) -> None:
    """Whatever is missing, there is an answer, it says what it rests on, and figures show it."""
    name = f"ladder-{LADDER.index(step)}"
    redis = redis_server.client()
    publish(world, redis, name)
    for gone in step.missing:
        redis.delete(group_key(name, gone))
    assert live.promote(1, name).status_code == 200
    series = [f'choirrec_ladder_steps_total{{step="{step.step}"}}']
    series += [f'choirrec_degraded_total{{reason="{reason}"}}' for reason in step.degraded]
    before = [live.metric(one) for one in series]
    answer = live.score(step.user_id, [ITEMS[0]])
    user = answer["user"]
    assert answer["degraded"] == step.degraded
    assert user["prefix_used"] == step.prefix_used
    assert (user["status"], user["activity_level"]) == (step.status, step.activity_level)
    assert [live.metric(one) for one in series] == [value + 1 for value in before]
    assert live.promote(1, "g1").status_code == 200


def test_corrupt_user_record_is_never_used(
    live: LiveService, world: World, redis_server: RedisServer
) -> None:
    """One flipped bit, and the user is answered as unknown, flagged and counted."""
    redis = redis_server.client()
    publish(world, redis, "rotten")
    key = user_key("rotten", "user-5")
    blob = redis.get(key)
    assert isinstance(blob, bytes)
    redis.set(key, blob[:40] + bytes([blob[40] ^ 1]) + blob[41:])
    assert live.promote(1, "rotten").status_code == 200
    answer = live.score("user-5", [ITEMS[0]], request_time=TIME_S)
    assert answer["user"]["status"] == "unavailable"
    assert answer["user"]["activity_level"] == "unknown"
    assert answer["degraded"] == ["user_record_corrupt"]
    assert live.metric('choirrec_corrupt_records_total{kind="user"}') == 1
    unknown = live.score("nobody", [ITEMS[0]], request_time=TIME_S)
    assert answer["scores"] == unknown["scores"]
    assert live.promote(1, "g1").status_code == 200


def test_infinite_record_is_never_used(
    live: LiveService, world: World, redis_server: RedisServer
) -> None:
    """An intact record that says infinity is as good as a damaged one."""
    user = replace(world.users["user-5"], continuous=np.array([np.inf], np.float32))
    publish(replace(world, users={"user-5": user}), redis_server.client(), "infinite")
    assert live.promote(1, "infinite").status_code == 200
    answer = live.score("user-5", [ITEMS[0]])
    assert answer["user"]["status"] == "unavailable"
    assert answer["degraded"] == ["user_record_corrupt"]
    assert live.promote(1, "g1").status_code == 200


def test_key_of_another_type_counts_as_a_missing_record(
    live: LiveService, redis_server: RedisServer
) -> None:
    """What a foreign writer left under a user's key costs the record, not the answer."""
    key = user_key("g1", "listed")
    redis_server.client().rpush(key, "x")
    answer = live.score("listed", [ITEMS[0]])
    redis_server.client().delete(key)
    assert (answer["user"]["status"], answer["degraded"]) == ("unknown", ["user_unknown"])


def test_record_beyond_the_graphs_is_left_out(
    live: LiveService, home: Path, redis_server: RedisServer
) -> None:
    """A record whose values overflow the graphs costs the user's part, not the answer."""
    steep = make_world(5)
    weights = replace(steep.weights, user_side=steep.weights.user_side * np.float32(100))
    steep = replace(steep, weights=weights)
    write_bundle(steep, home / "repository" / "5")
    huge = replace(steep.users["user-5"], continuous=np.array([3e38], np.float32))
    publish(replace(steep, users={"user-5": huge}), redis_server.client(), "huge")
    assert live.promote(5, "huge").status_code == 200
    answer = live.score("user-5", [ITEMS[0]])
    assert answer["user"]["status"] == "unavailable"
    assert answer["degraded"] == ["record_unusable", "prior_snapshot"]
    assert np.isfinite(answer["scores"]).all()
    assert live.promote(1, "g1").status_code == 200


def test_model_without_a_finite_score_is_a_problem_never_a_null(
    live: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN is told as an error; no caller ever sorts by it."""

    def broken(*_: object) -> None:
        raise NonFinite("not finite")

    monkeypatch.setattr(Scorer, "score", broken)
    reply = live.post(body())
    assert (reply.status_code, reply.json()["code"]) == (500, "scoring_failed")


def test_unforeseen_error_is_a_problem_without_its_insides(
    live: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of the service names the request in the log, and shows nothing of the code."""

    def mistaken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(Scorer, "resolve", mistaken)
    reply = live.post(body(), **{"X-Request-ID": "r-77"})
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert "r-77" in reply.json()["detail"]
    assert "secret" not in reply.text


def test_status_routes_tell_the_truth(live: LiveService) -> None:
    """Probes, models and unknown paths answer as documented."""
    for probe in ("live", "startup", "ready"):
        assert live.http.get(f"/health/{probe}").status_code == 200
    (model,) = live.models()["models"]
    assert (model["model_version"], model["state"], model["leases"]) == (1, "active", 0)
    assert live.metric("choirrec_in_flight_requests") == 0
