"""The status routes: what serves, whether it is alive, started and ready."""

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from service.api.http import check_key
from service.api.replica import Health
from service.errors import NotReady
from service.lifecycle.lifecycle import Lifecycle
from service.lifecycle.served_model import ServedModel


class ModelReport(BaseModel):
    """A model that answers callers."""

    role: str
    """champion or canary."""
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


class TargetReport(BaseModel):
    """A version with a generation that this worker holds or tries to hold."""

    model_version: int
    """0: the newest, not known yet."""
    generation: str
    """Empty: none is known yet."""
    state: str
    reason: str | None
    """Why it failed, or why it answers without its generation."""
    seconds: float | None
    """From its first step to ready."""


class ModelsReport(BaseModel):
    """What answers in this worker, the champion first, and everything that it holds."""

    worker: int
    revision: int
    """Of the desired state, as far as it has settled here; 0: none is known yet."""
    models: list[ModelReport]
    targets: list[TargetReport]


def report_models(lifecycle: Lifecycle) -> ModelsReport:
    """What answers now, and what is held."""
    state, roles = lifecycle.state(), lifecycle.roles
    pairs = (("champion", roles.champion), ("canary", roles.canary))
    return ModelsReport(
        worker=state.worker,
        revision=state.revision,
        models=[
            _model(role, served, draining=state.draining)
            for role, served in pairs
            if served is not None
        ],
        targets=[
            TargetReport(
                model_version=target.version,
                generation=target.generation,
                state=target.state,
                reason=target.reason,
                seconds=target.seconds,
            )
            for target in state.targets
        ],
    )


def _model(role: str, served: ServedModel, *, draining: bool) -> ModelReport:
    return ModelReport(
        role=role,
        model_version=served.version,
        generation=served.generation_name,
        generation_available=served.generation is not None,
        bundle_digest=served.bundle_digest,
        feature_contract=served.feature_contract,
        provider=served.loaded.provider,
        newcomers=served.newcomers.absence or "grouped",
        state="draining" if draining else "active",
        activated_s=served.activated_s,
        leases=served.leases,
    )


def status_routes(lifecycle: Lifecycle, secret: bytes | None) -> APIRouter:
    """The routes, bound to what they report on.

    Args:
        lifecycle: holds the champion.
        secret: the key that /v1/models asks for; probes ask for none.

    Returns:
        A router for the scoring app.
    """
    router = APIRouter()

    def keyed(request: Request) -> None:
        check_key(dict(request.headers.raw), secret)

    @router.get("/v1/models", dependencies=[Depends(keyed)])
    async def models() -> ModelsReport:
        """What answers in this worker, and everything that it holds."""
        return report_models(lifecycle)

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers at all; depends on nothing else."""
        return Health(status="live")

    @router.get("/health/startup")
    async def startup() -> Health:
        """Whether a model has become active since the process began."""
        lifecycle.current("")
        return Health(status="started")

    @router.get("/health/ready")
    async def ready() -> Health:
        """Whether new requests are welcome: a checked model is active and not draining."""
        lifecycle.current("")
        if lifecycle.draining:
            raise NotReady("the service is draining and takes no new callers")
        return Health(status="ready")

    return router
