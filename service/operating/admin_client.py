"""The admin client: one call to the admin port of a running service."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class Refused(Exception):
    """What was asked for was refused, or could not be asked."""

    def __init__(self, detail: str, problem: Mapping[str, Any] | None = None) -> None:
        """Tell it.

        Args:
            detail: what failed, in words.
            problem: the service's problem document, where there is one.
        """
        super().__init__(detail)
        self.problem = problem or {"detail": detail}


class AdminClient:
    """Calls to one admin port."""

    def __init__(self, url: str, secret: bytes | None) -> None:
        """Name the port; nothing is connected yet.

        Args:
            url: ``http://host:port``.
            secret: the admin key; None: none is sent.

        Raises:
            ValueError: when the URL is another one.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"--admin {url!r}, expected http://host:port")
        self._url = url
        self._host, self._port = parts.hostname, parts.port
        self._secret = secret

    def get(self, path: str) -> Any:
        """The answer to a question; raises Refused."""
        return self._call("GET", path, None, 30.0)

    def post(self, path: str, document: Mapping[str, Any], within_s: float) -> Any:
        """The answer to an order.

        Args:
            path: of the order.
            document: its body.
            within_s: what the service may take; the client waits longer than that.

        Raises:
            Refused: when it was refused, or there is no answer.
        """
        return self._call("POST", path, document, within_s + 60.0)

    def _call(
        self, method: str, path: str, document: Mapping[str, Any] | None, timeout_s: float
    ) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        headers = {"content-type": "application/json"}
        if self._secret is not None:
            headers["x-api-key"] = self._secret.decode()
        body = None if document is None else json.dumps(document)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Refused(
                f"no answer from {self._url}: {error}; is the service running?"
            ) from error
        finally:
            connection.close()
        if reply.status != http.client.OK:
            raise Refused(str(answer.get("detail", f"status {reply.status}")), answer)
        return answer
