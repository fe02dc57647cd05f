"""The client of an OpenAI-compatible endpoint: failures told apart, nothing sent astray."""

import asyncio
from collections.abc import Iterator

import pytest

from offline.openai_client import CallFailed, Endpoint, EndpointRefused, OpenAIClient
from tests.fixtures.llm_server import LlmServer, running_llm_server

MESSAGES = [{"role": "user", "content": "<facts>\ncase mine\n</facts>"}]


@pytest.fixture(scope="module")
def server() -> Iterator[LlmServer]:
    """A server process that fails on order."""
    with running_llm_server() as running:
        yield running


def ask(url: str, timeout_s: float = 5.0) -> bytes:
    """One request."""

    async def talk() -> bytes:
        async with OpenAIClient(Endpoint(url, "key", timeout_s)) as client:
            return await client.post("/chat/completions", {"model": "m", "messages": MESSAGES})

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("step", "outcome", "retriable", "maybe_spent"),
    [
        ("status 429", "rate_limited", True, False),
        ("status 408", "timeout", True, True),
        ("status 500", "server_error", True, True),
        ("status 503", "server_error", True, True),
        ("status 400", "refused", False, False),
        ("status 409", "refused", False, False),
        ("disconnect", "disconnected", True, True),
        ("cut_body", "disconnected", True, True),
        ("slow", "timeout", True, True),
        ("drip", "timeout", True, True),
    ],
)
def test_failures_are_told_apart(
    server: LlmServer, step: str, outcome: str, retriable: bool, maybe_spent: bool
) -> None:
    """Each failure says whether it may pass and whether it may have cost something."""
    server.plan(mine=[step])
    with pytest.raises(CallFailed) as failure:
        ask(server.base_url, timeout_s=0.5)
    found = failure.value
    assert (found.outcome, found.retriable, found.maybe_spent) == (outcome, retriable, maybe_spent)
    assert len(server.calls()) == 1


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404])
def test_what_fails_for_everybody_is_another_error(server: LlmServer, status: int) -> None:
    """A wrong key, name or address is not one user's failure, and a redirect is not followed."""
    server.plan(mine=[f"status {status}"])
    with pytest.raises(EndpointRefused, match=rf"{status} from .* check the base URL"):
        ask(server.base_url)
    assert len(server.calls()) == 1


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        ("7", 7.0, 7.0),
        ("0.5", 0.5, 0.5),
        ("-3", 0.0, 0.0),
        ("soon", 0.0, 0.0),
        ("inf", 0.0, 0.0),
        ("nan", 0.0, 0.0),
        ("Mon, 1 Jan 99999999999 00:00:00 GMT", 0.0, 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 1e9, 1e10),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0, 0.0),
    ],
)
def test_retry_after_is_read(server: LlmServer, header: str, least_s: float, most_s: float) -> None:
    """Seconds and dates are understood; nonsense and the past ask for no wait."""
    server.plan(mine=[f"status 429 {header}"])
    with pytest.raises(CallFailed) as failure:
        ask(server.base_url)
    assert least_s <= failure.value.retry_after_s <= most_s


def test_a_refused_connection_costs_nothing() -> None:
    """Where nobody listens nothing was spent."""
    with pytest.raises(CallFailed) as failure:
        ask("http://127.0.0.1:1/v1")
    assert failure.value.outcome == "disconnected"
    assert not failure.value.maybe_spent


def test_a_server_on_this_machine_is_reached_without_a_proxy(
    server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts for a local model do not take a detour through a proxy of the environment."""
    server.plan()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert ask(server.base_url)
    assert len(server.calls()) == 1


def test_the_body_arrives_unparsed(server: LlmServer) -> None:
    """What a 200 carries is handed on as it came."""
    server.plan(mine=["garbage"])
    assert ask(server.base_url) == b"<html>a proxy's page</html>"
