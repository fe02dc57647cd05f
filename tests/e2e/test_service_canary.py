"""A canary: its own users, testers, batches of both sides, and counts by role."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.lifecycle.canary_side import on_canary_side
from tests.fixtures.bundles import AS_OF_S, ITEMS, USERS, World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, live_service, settings_for

TIME_S = AS_OF_S + 4000
SHARE = 0.4
STRANGERS = tuple(f"stranger-{number}" for number in range(30))
MOMENT = {"request_time": TIME_S, "context": {"hour": 1, "weekday": 1}}


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[LiveService]:
    """Version 1 as champion, version 2 as canary of a share of the users and of testers."""
    folder = tmp_path_factory.mktemp("canary")
    for version in (1, 2):
        write_bundle(make_world(version), folder / "repository" / str(version))
    redis = redis_server.client()
    redis.flushall()
    publish(make_world(1), redis, "a")
    settings = settings_for(folder, redis_server.url, model_version=1, state=str(folder / "state"))
    with live_service(settings) as service:
        reply = _order(service, "canary", version=2, share=SHARE, testers=True)
        assert reply.status_code == 200, reply.text
        yield service


def _order(service: LiveService, action: str, **fields: Any) -> httpx.Response:
    order = {"who": "a test", "why": "to see", **fields}
    return httpx.post(f"{service.admin_url}/admin/{action}", json=order, timeout=60)


def _side(service: LiveService, user_id: str) -> int:
    roles = service.service.lifecycle.roles
    return 2 if on_canary_side(user_id, roles.salt, SHARE) else 1


def _expected(world: World, user_id: str) -> "np.ndarray":
    user = world.users.get(user_id)
    group = world.groups[user.prefix if user else ()]
    individual, shared, alpha = world.expected(user, group, TIME_S, 1, 1, ITEMS[:3])
    return (1 - alpha) * individual + alpha * shared


def test_each_user_stays_on_one_side_and_gets_that_sides_scores(shop: LiveService) -> None:
    """Known users and strangers alike: the side follows from the id, and so does every logit."""
    versions = set()
    for user_id in (*USERS, *STRANGERS):
        for _ in range(2):
            answer = shop.score(user_id, list(ITEMS[:3]), **MOMENT)
            assert answer["model_version"] == _side(shop, user_id)
        expected = _expected(make_world(answer["model_version"]), user_id)
        np.testing.assert_allclose(answer["fused_logits"], expected, atol=1e-5)
        versions.add(answer["model_version"])
    assert versions == {1, 2}


def test_batch_of_both_sides_answers_each_call_by_its_own_user(shop: LiveService) -> None:
    """Answers come in order, each by one version and generation, as if asked for alone."""
    users = [*USERS, *STRANGERS]
    requests = [{"user_id": user, "item_ids": list(ITEMS[:3]), **MOMENT} for user in users]
    reply = shop.http.post("/score/batch", json={"requests": requests})
    assert sorted(reply.headers["x-model-version"].split(", ")) == ["1", "2"]
    answers = reply.json()["responses"]
    assert [answer["model_version"] for answer in answers] == [_side(shop, user) for user in users]
    assert {answer["generation"] for answer in answers} == {"a"}
    for user_id, answer in zip(users, answers, strict=True):
        alone = shop.score(user_id, list(ITEMS[:3]), **MOMENT)
        assert answer["scores"] == alone["scores"]


def test_tester_gets_the_canary_by_a_header(shop: LiveService) -> None:
    """Whoever sends it, and nobody else; another value means nothing."""
    (user,) = [user for user in USERS if _side(shop, user) == 1][:1]
    for value, version in (("1", 2), ("0", 1), ("yes", 1)):
        document = {"user_id": user, "item_ids": [ITEMS[0]]}
        reply = shop.http.post("/score", json=document, headers={"x-choirrec-canary": value})
        assert reply.json()["model_version"] == version
        assert reply.headers["x-model-version"] == str(version)


def test_counts_are_kept_by_role_and_by_target(shop: LiveService) -> None:
    """What guards and operators compare adds up to the calls that were made."""

    def calls() -> tuple[float, float]:
        series = "choirrec_role_calls_total"
        by_role = (shop.metric(f'{series}{{role="{role}"}}') for role in ("champion", "canary"))
        return next(by_role), next(by_role)

    def counted() -> tuple[int, int]:
        counts = shop.service.lifecycle.state().counts
        return counts["1/a"].requests, counts["2/a"].requests

    before, counted_before = calls(), counted()
    for user in STRANGERS:
        shop.score(user, [ITEMS[0]])
    canary = sum(_side(shop, user) == 2 for user in STRANGERS)
    after, counted_after = calls(), counted()
    grown = [new - old for new, old in zip(after, before, strict=True)]
    assert grown == [len(STRANGERS) - canary, canary]
    assert [n - o for n, o in zip(counted_after, counted_before, strict=True)] == grown
    state = shop.service.lifecycle.state().counts["2/a"]
    assert sum(state.latency) == state.requests
    assert sum(answers for answers, _ in state.alpha.values()) == state.requests
    assert state.errors == 0


def test_models_names_both(shop: LiveService) -> None:
    """Whoever asks what serves sees champion and canary."""
    models = shop.models()["models"]
    assert [(m["role"], m["model_version"]) for m in models] == [("champion", 1), ("canary", 2)]


def test_ended_canary_gives_its_users_back(shop: LiveService) -> None:
    """After the order every user is the champion's, testers too."""
    reply = _order(shop, "canary/stop")
    assert reply.status_code == 200, reply.text
    for user_id in (*USERS, *STRANGERS):
        document = {"user_id": user_id, "item_ids": [ITEMS[0]]}
        reply = shop.http.post("/score", json=document, headers={"x-choirrec-canary": "1"})
        assert reply.json()["model_version"] == 1
    reply = _order(shop, "canary", version=2, share=SHARE, testers=True)
    assert reply.json()["result"] == "done"
