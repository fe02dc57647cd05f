"""The status routes: what serves, whether it is alive, started and ready, and the metrics."""

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from service.api.http import check_key
from service.errors import NotReady
from service.lifecycle.lifecycle import Lifecycle
from service.metrics import MEDIA_TYPE, Metrics


class Health(BaseModel):
    """A probe that succeeded."""

    status: str


class ModelReport(BaseModel):
    """The active model."""

    model_version: int
    generation: str
    """Whose records are read; the snapshot's while no generation could be reached."""
    generation_available: bool
    bundle_digest: str
    feature_contract: str
    provider: str
    newcomers: str
    """Grouped, or why they are answered as unknown users."""
    state: str
    activated_s: float
    """Seconds since the epoch."""
    leases: int
    """Requests being answered with it now."""


class LoadReport(BaseModel):
    """The last load, begun by the start or by an operator."""

    state: str
    model_version: int | None
    generation: str | None
    reason: str | None


class ModelsReport(BaseModel):
    """Everything that is active, and the last load."""

    models: list[ModelReport]
    last_load: LoadReport


def report_models(lifecycle: Lifecycle) -> ModelsReport:
    """What serves now, and where the last load stands."""
    champion, progress = lifecycle.champion, lifecycle.progress
    models = []
    if champion is not None:
        models.append(
            ModelReport(
                model_version=champion.version,
                generation=champion.generation_name,
                generation_available=champion.generation is not None,
                bundle_digest=champion.bundle_digest,
                feature_contract=champion.feature_contract,
                provider=champion.loaded.provider,
                newcomers=champion.newcomers.absence or "grouped",
                state="draining" if lifecycle.draining else "active",
                activated_s=champion.activated_s,
                leases=champion.leases,
            )
        )
    load = LoadReport(
        state=progress.state,
        model_version=progress.version,
        generation=progress.generation,
        reason=progress.reason,
    )
    return ModelsReport(models=models, last_load=load)


def status_routes(lifecycle: Lifecycle, metrics: Metrics, secret: bytes | None) -> APIRouter:
    """The routes, bound to what they report on.

    Args:
        lifecycle: holds the champion.
        metrics: of this process.
        secret: the key that /v1/models asks for; probes and metrics ask for none.

    Returns:
        A router for the scoring app.
    """
    router = APIRouter()

    def keyed(request: Request) -> None:
        check_key(dict(request.headers.raw), secret)

    @router.get("/v1/models", dependencies=[Depends(keyed)])
    async def models() -> ModelsReport:
        """The model that answers now, and the last load."""
        return report_models(lifecycle)

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers at all; depends on nothing else."""
        return Health(status="live")

    @router.get("/health/startup")
    async def startup() -> Health:
        """Whether a model has become active since the process began."""
        lifecycle.current()
        return Health(status="started")

    @router.get("/health/ready")
    async def ready() -> Health:
        """Whether new requests are welcome: a checked model is active and not draining."""
        lifecycle.current()
        if lifecycle.draining:
            raise NotReady("the service is draining and takes no new callers")
        return Health(status="ready")

    add_metrics_route(router, metrics)
    return router


def add_metrics_route(router: APIRouter, metrics: Metrics) -> None:
    """GET /metrics in Prometheus' text format."""

    @router.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """All metrics of this process, in Prometheus' text format."""
        return Response(metrics.exposition(), media_type=MEDIA_TYPE)
