"""The scoring app: FastAPI with the scoring and feedback routes before its stack."""

from typing import Any

from fastapi import FastAPI

from service.api.feedback import FEEDBACK, FeedbackRoute
from service.api.http import Receive, Scope, Send
from service.api.openapi import with_bare_routes
from service.api.problems import install_problems
from service.api.scoring import ROUTES, ScoringRoute
from service.api.status import status_routes
from service.lifecycle.lifecycle import Lifecycle
from service.metrics import Metrics

_NAMES = {"v1": "models", "health": "health", "openapi.json": "docs"}


class ScoringApp(FastAPI):
    """A FastAPI app whose scoring calls skip the framework's stack of middlewares.

    Everything else, the OpenAPI document included, is FastAPI's.
    """

    def __init__(
        self,
        route: ScoringRoute,
        feedback: FeedbackRoute,
        lifecycle: Lifecycle,
        metrics: Metrics,
        secret: bytes | None,
    ) -> None:
        """Make the app.

        Args:
            route: answers scoring calls.
            feedback: takes outcomes.
            lifecycle: told of by the status routes.
            metrics: counts every request.
            secret: the API key; None: no key is asked for.
        """
        super().__init__(
            title="ChoirRec Serving",
            description="Conversion-rate scores of candidates, by two fused channels",
            version="1",
            docs_url=None,
            redoc_url=None,
        )
        self._route = route
        self._feedback = feedback
        self._metrics = metrics
        install_problems(self)
        self.include_router(status_routes(lifecycle, secret))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer scoring calls at once, and hand everything else to FastAPI."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif scope["path"] in ROUTES:
            await self._route(scope, receive, send)
        elif scope["path"] == FEEDBACK:
            await self._feedback(scope, receive, send)
        else:
            await super().__call__(scope, receive, self._counting(scope, send))

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, bare routes included."""
        if self.openapi_schema is None:
            self.openapi_schema = with_bare_routes(super().openapi())
        return self.openapi_schema

    def _counting(self, scope: Scope, send: Send) -> Send:
        first = scope["path"].strip("/").partition("/")[0]
        route = _NAMES.get(first, "other")

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests(route, message["status"]).inc()
            await send(message)

        return counted
