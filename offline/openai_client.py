"""The OpenAI-compatible endpoint: one request in, the bytes of its answer or the reason out."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    DefaultAsyncHttpxClient,
)

_BODY_SHOWN_CHARS = 300


class EndpointRefused(RuntimeError):
    """The endpoint will refuse every request alike: wrong key, wrong model, wrong address."""


class CallFailed(RuntimeError):
    """One request without a usable answer."""

    def __init__(
        self,
        outcome: str,
        message: str,
        *,
        retriable: bool = False,
        retry_after_s: float = 0.0,
        maybe_spent: bool = False,
    ) -> None:
        """State what came of the request.

        Args:
            outcome: a short name to count by.
            message: what happened, for people.
            retriable: whether the same request may succeed later.
            retry_after_s: the least wait that the endpoint asked for.
            maybe_spent: whether the endpoint may have spent tokens that it did not state.
        """
        super().__init__(message)
        self.outcome = outcome
        self.retriable = retriable
        self.retry_after_s = retry_after_s
        self.maybe_spent = maybe_spent


@dataclass(frozen=True)
class Endpoint:
    """Where requests go."""

    base_url: str
    """Up to and with the version, as in ``https://llm.example/v1``."""
    api_key: str = "none"
    """Sent as a bearer token; servers without keys ignore it."""
    timeout_s: float = 120.0
    """Of one request, from its first byte to the answer's last."""


class OpenAIClient:
    """A client that sends each request once; retries are the caller's."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare connections; nothing is sent yet.

        A redirect is never followed, since it would carry the facts of users elsewhere, and a
        server on this machine is never reached through a proxy.
        """
        self._endpoint = endpoint
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            max_retries=0,
            timeout=endpoint.timeout_s,
            http_client=DefaultAsyncHttpxClient(
                follow_redirects=False,
                trust_env=not _is_loopback(endpoint.base_url),
                timeout=endpoint.timeout_s,
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Send one request.

        Args:
            path: below the base URL, as ``/chat/completions``.
            body: sent as JSON.

        Returns:
            The body of a 200 answer, unparsed.

        Raises:
            CallFailed: retriable after 429, 5xx, a timeout or a broken connection; else not.
            EndpointRefused: after 401, 403, 404 or a redirect.
        """
        try:
            # Of the whole request: the client's own timeout begins again with every byte.
            async with asyncio.timeout(self._endpoint.timeout_s):
                answer = await self._client.post(path, cast_to=httpx2.Response, body=dict(body))
        except (TimeoutError, APITimeoutError) as error:
            said = f"no answer within {self._endpoint.timeout_s} s"
            raise CallFailed("timeout", said, retriable=True, maybe_spent=True) from error
        except APIConnectionError as error:
            raise _disconnected(error) from error
        except APIStatusError as error:
            raise self._status_failure(error) from error
        return answer.content

    def _status_failure(self, error: APIStatusError) -> CallFailed | EndpointRefused:
        status = error.status_code
        said = f"{status} from {self._endpoint.base_url}: {_shown(error.response)}"
        if status in (401, 403, 404) or status < 400:
            return EndpointRefused(
                f"{said}; expected 200: check the base URL, the key file and the model's name"
            )
        if status == 429:
            wait_s = _retry_after_s(error.response.headers)
            return CallFailed("rate_limited", said, retriable=True, retry_after_s=wait_s)
        if status == 408:
            return CallFailed("timeout", said, retriable=True, maybe_spent=True)
        if status >= 500:
            wait_s = _retry_after_s(error.response.headers)
            return CallFailed(
                "server_error", said, retriable=True, retry_after_s=wait_s, maybe_spent=True
            )
        return CallFailed("refused", said)


def _disconnected(error: APIConnectionError) -> CallFailed:
    """A connection that was never made cannot have cost anything."""
    unmade = isinstance(error.__cause__, httpx2.ConnectError)
    message = f"{error} {error.__cause__}"
    return CallFailed("disconnected", message, retriable=True, maybe_spent=not unmade)


def _shown(response: httpx2.Response) -> str:
    return " ".join(response.text.split())[:_BODY_SHOWN_CHARS]


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds of ``Retry-After``: a number, or a date; 0 when absent or neither."""
    text = headers.get("retry-after", "")
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = _seconds_until(text)
    return max(0.0, wait_s) if math.isfinite(wait_s) else 0.0


def _seconds_until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
