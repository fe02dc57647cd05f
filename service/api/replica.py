"""The replica's own routes on the admin port: its probes, and the metrics of all its processes."""

from typing import Protocol

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.errors import NotReady

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """A probe that succeeded."""

    status: str


class Replica(Protocol):
    """What the routes ask."""

    @property
    def started(self) -> bool:
        """Whether a worker has been ready since the beginning."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a worker welcomes requests."""
        ...

    def obstacle(self) -> str:
        """Why it is not ready."""
        ...

    async def metrics(self) -> bytes:
        """Every process's metrics."""
        ...


def replica_routes(replica: Replica) -> APIRouter:
    """Probes and metrics, which ask for no key.

    Args:
        replica: the workers.

    Returns:
        A router for the admin app.
    """
    router = APIRouter()

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the supervisor answers at all; depends on nothing else."""
        return Health(status="live")

    @router.get("/health/startup")
    async def startup() -> Health:
        """Whether a worker has been ready since the service began."""
        if not replica.started:
            raise NotReady(replica.obstacle())
        return Health(status="started")

    @router.get("/health/ready")
    async def ready() -> Health:
        """Whether a worker welcomes requests."""
        if not replica.ready:
            raise NotReady(replica.obstacle())
        return Health(status="ready")

    @router.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """The metrics of every worker and of the supervisor, in Prometheus' text format."""
        return Response(await replica.metrics(), media_type=MEDIA_TYPE)

    return router
