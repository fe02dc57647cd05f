"""The scoring route's side of ASGI: one response at most, and an honest count of it."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from service.api.answer import Answer
from service.api.http import Message, Scope
from service.api.scoring import ScoringRoute
from service.api.wire import Limits
from service.features.reader import Evidence
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.roles import Roles
from service.metrics import Metrics


class _Model:
    """A model that is active; what it answers does not matter here."""

    version = 1
    tally = SimpleNamespace(answered=lambda *_, **__: None)

    def __enter__(self) -> "_Model":
        return self

    def __exit__(self, *_: object) -> None:
        pass


async def _no_answer(*_: object) -> list[Answer]:
    return [Answer({}, cast("Evidence", None))]


async def _receive() -> Message:
    return {"type": "http.request", "body": b'{"user_id":"u","item_ids":["i"]}'}


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_response_that_cannot_be_sent_is_not_followed_by_another(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses a response refuses it once; it counts as the service's mistake."""
    monkeypatch.setattr("service.api.scoring.answer", _no_answer)
    lifecycle = cast(
        "Lifecycle",
        SimpleNamespace(current=lambda *_, **__: _Model(), roles=Roles(), draining=False),
    )
    metrics = Metrics()
    route = ScoringRoute(lifecycle, metrics, Limits(10, 10), 1000, None)
    scope: Scope = {"type": "http", "method": method, "path": "/score", "headers": []}
    sent: list[Message] = []

    async def refusing(message: Message) -> None:
        sent.append(message)
        raise RuntimeError("Invalid HTTP header value.")

    with pytest.raises(RuntimeError, match="header value"):
        asyncio.run(route(scope, _receive, refusing))
    assert [message["type"] for message in sent] == ["http.response.start"]
    labels = {"route": "score", "code": "500"}
    assert metrics.registry.get_sample_value("choirrec_requests_total", labels) == 1
