"""POST /feedback and what of an answered request is logged, on a live service."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from jsonschema import Draft202012Validator

from model.records import decode_group, decode_item, decode_user, parse_prefix
from model.served_log import OUTCOMES, SERVED, is_sampled, pseudonym
from model.spec import user_row
from service.api.scoring import Exchange, Share
from service.api.served import _assignment
from service.feedback.opening import check_log, logged_rows
from service.lifecycle.roles import Roles
from service.settings import Settings
from tests.fixtures.bundles import ITEMS, NEW_ITEMS, SPEC, World, publish
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, live_service, settings_for

NOW_S = 1_800_000_000.0


def told(request_id: str = "r", **fields: object) -> dict[str, object]:
    """One outcome."""
    return {"request_id": request_id, "item_id": "i", "outcome": "order", "time": NOW_S, **fields}


def tell(service: LiveService, *outcomes: dict[str, object]) -> httpx.Response:
    """POST /feedback."""
    return service.http.post("/feedback", json={"outcomes": outcomes})


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.feedback.time", SimpleNamespace(time=lambda: NOW_S))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the log."""
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def logging(
    home: Path, redis_server: RedisServer, world: World, folder: Path
) -> Iterator[LiveService]:
    """A service that logs half of its requests."""
    publish(world, redis_server.client(), "g1")
    settings = settings_for(home, redis_server.url, log=folder, log_sample=0.5, log_rotate_s=0.05)
    with live_service(settings) as service:
        yield service


def sampled(prefix: str, *, inside: bool = True) -> str:
    """A request id inside the sample, or outside of it."""
    return next(i for n in range(99) if is_sampled(i := f"{prefix}-{n}", 0.5) == inside)


def row_of(folder: Path, kind: str, request_id: str) -> dict[str, Any]:
    """The one logged row, once its file is closed."""
    deadline = time.monotonic() + 20
    while not (rows := logged_rows(folder, kind, request_id)) and time.monotonic() < deadline:
        time.sleep(0.01)
    (row,) = rows
    return row


def test_logged_request_holds_all_that_decided_its_scores(
    logging: LiveService, folder: Path, world: World
) -> None:
    """Records, candidates, moment and answer stand in one row, as they were."""
    request_id, items = sampled("whole"), [ITEMS[3], NEW_ITEMS[0], "nowhere", ITEMS[3]]
    answer = logging.score("user-23", items, request_id=request_id, request_time=1_700_100_000)
    row = row_of(folder, SERVED, request_id)
    assert (row["user_id"], row["user_hashed"]) == ("user-23", False)
    assert row["user_row"] == user_row("user-23", SPEC.user_rows)
    assert (row["role"], row["propensity"], row["experiment"]) == ("champion", 1.0, None)
    assert (row["version"], row["generation"]) == (answer["model_version"], "g1")
    for column, name in [("scores", "scores"), ("fused_logits", "fused_logits")]:
        assert row[column] == pytest.approx(answer[name], abs=0, rel=1e-7)
    assert row["item_ids"] == items
    assert row["activity_level"] == answer["user"]["activity_level"]
    user = decode_user(row["user_record"], "user-23")
    assert user.purchases == world.users["user-23"].purchases
    assert row["low_activity"] == (user.window_purchases <= SPEC.low_activity_purchases)
    prefix = parse_prefix(row["prefix"])
    assert decode_group(row["group_record"], prefix).size == world.groups[prefix].size
    (blob,) = row["new_item_records"]
    assert decode_item(blob, NEW_ITEMS[0]).item_id == NEW_ITEMS[0]
    assert (row["time_s"], row["hour"]) == (1_700_100_000, 2)


def test_unsampled_request_leaves_no_trace(logging: LiveService, folder: Path) -> None:
    """The share is a promise: neither the request nor its outcomes are kept."""
    outside, inside = sampled("trace", inside=False), sampled("trace")
    for request_id in (outside, inside):
        logging.score("user-1", [ITEMS[0]], request_id=request_id)
    reply = tell(logging, told(outside), told(inside))
    assert (reply.status_code, reply.json()) == (202, {"accepted": 1, "not_sampled": 1})
    assert row_of(folder, SERVED, inside)["request_id"] == inside
    assert row_of(folder, OUTCOMES, inside)["request_id"] == inside
    assert logged_rows(folder, SERVED, outside) + logged_rows(folder, OUTCOMES, outside) == []


def test_every_request_of_a_batch_is_drawn_by_itself(logging: LiveService, folder: Path) -> None:
    """Feedback speaks of the ids in the answers, so the log does."""
    ids = [sampled("batch"), sampled("batch", inside=False)]
    requests = [{"user_id": "user-2", "item_ids": [ITEMS[1]], "request_id": i} for i in ids]
    assert logging.post(json.dumps({"requests": requests}), "/score/batch").status_code == 200
    assert row_of(folder, SERVED, ids[0])["user_id"] == "user-2"
    assert logged_rows(folder, SERVED, ids[1]) == []


def test_outcome_is_logged_as_told(logging: LiveService, folder: Path) -> None:
    """What somebody bought, for how much and when, arrives unchanged."""
    request_id = sampled("outcome")
    assert tell(logging, told(request_id, item_id=7, value=12.5)).status_code == 202
    row = row_of(folder, OUTCOMES, request_id)
    assert (row["item_id"], row["outcome"], row["value"]) == ("7", "order", 12.5)
    assert (row["time_s"], row["received_s"]) == (NOW_S, NOW_S)


INVALID = [
    {"outcomes": []},
    {"outcomes": [told()] * 1001},
    {"outcomes": [told(outcome="view")]},
    {"outcomes": [told(request_id="two words")]},
    {"outcomes": [told(item_id=None)]},
    {"outcomes": [told(value=-1)]},
    {"outcomes": [told(surprise=1)]},
    {"outcomes": [{"request_id": "r"}]},
    {},
]


@pytest.mark.parametrize("body", INVALID)
def test_document_and_decoder_refuse_the_same(logging: LiveService, body: dict[str, Any]) -> None:
    """A client generated from the OpenAPI document sends nothing that is refused."""
    document = logging.http.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/FeedbackRequest", "components": document["components"]}
    assert not Draft202012Validator(schema).is_valid(body)
    assert Draft202012Validator(schema).is_valid({"outcomes": [told(), told(value=0, item_id=3)]})
    reply = logging.http.post("/feedback", json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"time": 1e9 - 1e8}, "outcomes[1].time: 900000000.0"),
        ({"time": NOW_S + 90_000}, "outcomes[1].time"),
        ({"item_id": "ü" * 40}, "outcomes[1].item_id: 80 bytes"),
        ({"item_id": ""}, "outcomes[1].item_id"),
    ],
)
def test_wrong_outcome_refuses_all_and_is_named(
    logging: LiveService, folder: Path, fields: dict[str, object], place: str
) -> None:
    """Nothing is half-taken: a caller mends one outcome and sends all again."""
    request_id = sampled("refused")
    reply = tell(logging, told(request_id), told(request_id, **fields))
    assert reply.status_code == 422
    assert place in reply.json()["detail"]
    assert logged_rows(folder, OUTCOMES, request_id) == []


def test_other_methods_and_junk_are_problems(logging: LiveService) -> None:
    """The route keeps the manners of the scoring route."""
    assert logging.http.get("/feedback").status_code == 405
    assert logging.http.get("/feedback").headers["allow"] == "POST"
    assert logging.post("{", "/feedback").json()["code"] == "malformed_json"
    assert logging.metric('choirrec_requests_total{code="405",route="feedback"}') == 2


def test_service_without_a_log_says_so(live: LiveService) -> None:
    """A caller learns that outcomes are not kept, instead of losing them unnoticed."""
    reply = tell(live, told())
    assert (reply.status_code, reply.json()["code"]) == (404, "no_log")


def test_users_can_be_hidden(
    home: Path, redis_server: RedisServer, world: World, tmp_path: Path
) -> None:
    """With a key, no user id stands in the log, the records included."""
    publish(world, redis_server.client(), "g1")
    (tmp_path / "key").write_text("secret")
    settings = settings_for(
        *(home, redis_server.url),
        log=tmp_path / "log",
        log_sample=1.0,
        log_user_key_file=tmp_path / "key",
    )
    with live_service(settings) as service:
        service.score("user-23", [ITEMS[0]], request_id="hidden")
    (row,) = logged_rows(tmp_path / "log", SERVED, "hidden")
    assert row["user_id"] == pseudonym("user-23", b"secret")
    assert row["user_hashed"]
    assert b"user-23" not in row["user_record"]
    assert decode_user(row["user_record"], "").purchases == world.users["user-23"].purchases


@pytest.mark.parametrize(
    ("role", "tester", "share", "expected"),
    [
        ("canary", False, 0.1, (0.1, 0.1)),
        ("champion", False, 0.1, (0.1, 0.9)),
        ("canary", True, 0.1, (0.1, None)),
        ("champion", True, None, (None, 1.0)),
        ("champion", False, None, (None, 1.0)),
    ],
)
def test_propensity_is_the_chance_of_the_role(
    role: str, tester: bool, share: float | None, expected: tuple[float | None, float | None]
) -> None:
    """A comparison can undo a share that changed, and leaves testers out."""
    model = cast("Any", SimpleNamespace())
    roles = Roles(model) if share is None else Roles(model, cast("Any", 1), share, "s", True)
    headers = {b"x-choirrec-canary": b"1"} if tester else {}
    found = _assignment(Exchange("score", roles=roles, headers=headers), Share(model, role, [0]))
    assert found["share"] == expected[0]
    chance = found["propensity"]
    assert chance == expected[1] or math.isclose(cast("float", chance), expected[1] or 0)


def test_log_without_its_package_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An operator reads which package to install, before anything serves."""
    monkeypatch.setattr("service.feedback.opening.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"CHOIRREC_LOG: .*choirrec-serving\[log\]"):
        check_log(Settings(log=tmp_path))
    check_log(Settings())


def test_folder_that_is_none_ends_the_start(tmp_path: Path) -> None:
    """A log that could never be written is told at the start."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_log(Settings(log=tmp_path / "file"))
