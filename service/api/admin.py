"""The admin app: loads and state, for operators, on a port of its own."""

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.http import check_key
from service.api.operating import operating_routes
from service.api.problems import install_problems
from service.api.replica import Replica, replica_routes
from service.api.status import ModelsReport, add_metrics_route, report_models
from service.control.plane import ControlPlane
from service.lifecycle.solo import Solo
from service.metrics import Metrics


class LoadOrder(BaseModel):
    """What to load; whatever is left out is the newest."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int | None = Field(default=None, ge=1)
    generation: str | None = None


class VerdictReport(BaseModel):
    """A load that became active."""

    verdict: str
    model_version: int
    generation: str
    bundle_digest: str
    feature_contract: str
    seconds: float


def create_admin_app(lifecycle: Solo, metrics: Metrics, secret: bytes | None) -> FastAPI:
    """The admin app, apart from the scoring app so that another process may own it.

    Args:
        lifecycle: what is steered.
        metrics: of this process.
        secret: the admin key; None: no key is asked for.

    Returns:
        The app; refused loads are problem documents with the exact reason.
    """
    app = FastAPI(title="ChoirRec Serving, administration", docs_url=None, redoc_url=None)
    install_problems(app)

    def keyed(request: Request) -> None:
        check_key(dict(request.headers.raw), secret)

    router = APIRouter(dependencies=[Depends(keyed)])

    @router.post("/admin/load")
    async def load(order: LoadOrder) -> VerdictReport:
        """Load a version and generation, and answer once it serves or is refused."""
        verdict = await lifecycle.load(order.version, order.generation)
        return VerdictReport(
            verdict="active",
            model_version=verdict.version,
            generation=verdict.generation,
            bundle_digest=verdict.bundle_digest,
            feature_contract=verdict.feature_contract,
            seconds=verdict.seconds,
        )

    @router.get("/admin/state")
    async def state() -> ModelsReport:
        """What serves, and where the last load stands."""
        return report_models(lifecycle)

    app.include_router(router)
    open_router = APIRouter()
    add_metrics_route(open_router, metrics)
    app.include_router(open_router)
    return app


def create_supervisor_app(plane: ControlPlane, replica: Replica, secret: bytes | None) -> FastAPI:
    """The admin app of a replica: orders and reports with the key, probes and metrics without.

    Args:
        plane: the replica's control plane.
        replica: its workers.
        secret: the admin key; None: no key is asked for.

    Returns:
        The app; whatever is refused is a problem document with the exact reason.
    """
    app = FastAPI(title="ChoirRec Serving, administration", docs_url=None, redoc_url=None)
    install_problems(app)
    app.include_router(operating_routes(plane, secret))
    app.include_router(replica_routes(replica))
    return app
