"""The operators' routes: what stands where, and the orders that change it."""

from collections.abc import Callable
from typing import Annotated, Any, Self

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from service.control.orders import WHO_LENGTH, WHY_LENGTH, Order, Outcome, check_said
from service.control.plane import ControlPlane

MAX_WITHIN_S = 3600.0


class OrderBody(BaseModel):
    """Who asks for a change, why, and how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    who: str = Field(min_length=1, max_length=WHO_LENGTH)
    why: str = Field(min_length=1, max_length=WHY_LENGTH, description="For the audit log")
    force: bool = Field(default=False, description="Overrule a guard; why says the reason")
    dry_run: bool = Field(default=False, description="Say what would change, and change nothing")
    within_s: float = Field(default=120.0, gt=0, le=MAX_WITHIN_S, strict=False)
    revision: int | None = Field(
        default=None, ge=1, description="Refused where another one holds by now; default: any"
    )

    @field_validator("who", "why")
    @classmethod
    def _is_said(cls, text: str) -> str:
        return check_said(text, WHY_LENGTH)

    def order(self) -> Order:
        """The order, as the control plane reads it."""
        return Order(self.who, self.why, self.force, self.dry_run, self.within_s, self.revision)


class TargetBody(OrderBody):
    """A change that names a target."""

    version: int = Field(ge=1)
    generation: str | None = Field(
        default=None, description="Default: the running one's of this version, else the newest"
    )


class CanaryBody(TargetBody):
    """A target for a share of the users."""

    share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        strict=False,
        description="Of users; 0: testers alone; default: as it was, 0 for a new canary",
    )
    testers: bool | None = Field(
        default=None, description="Whether callers may ask for it by a header; default: as it was"
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.share is None and self.testers is None:
            raise ValueError("share of the users, or testers: expected one of them, or both")
        return self


class ShadowBody(TargetBody):
    """A target for a sample of the requests."""

    sample: float = Field(gt=0, le=1, strict=False, description="Of requests")


def operating_routes(plane: ControlPlane) -> APIRouter:
    """The routes, bound to a replica's control plane.

    Args:
        plane: carries out orders and tells what stands where.

    Returns:
        A router for the admin app, behind its ``OrderDoor``; what is refused is a problem document.
    """
    router = APIRouter(prefix="/admin")
    _add_reports(router, plane)
    _add_targets(router, plane)
    _add_ends(router, plane)
    return router


def _add_reports(router: APIRouter, plane: ControlPlane) -> None:
    @router.get("/state")
    async def state() -> dict[str, Any]:
        """The desired state, and how far every worker of every replica follows it."""
        return await plane.status()

    @router.get("/comparison")
    async def comparison() -> dict[str, Any]:
        """What a canary or shadow changes in the answers, by activity level."""
        return await plane.comparison()

    @router.get("/history")
    async def history(limit: Annotated[int, Query(ge=1, le=10_000)] = 20) -> list[dict[str, Any]]:
        """The audit log: the last revisions, newest first."""
        told: list[dict[str, Any]] = msgspec.to_builtins(await plane.history(limit))
        return told


def _add_targets(router: APIRouter, plane: ControlPlane) -> None:
    operator = plane.operator

    @router.post("/promote")
    async def promote(body: TargetBody) -> dict[str, Any]:
        """Make a target ready on every worker of every replica, then champion."""
        return _told(plane, await operator.promote(body.order(), body.version, body.generation))

    @router.post("/canary")
    async def canary(body: CanaryBody) -> dict[str, Any]:
        """Make a target ready everywhere, then let it answer a share of the users."""
        return _told(
            plane,
            await operator.canary(
                body.order(), body.version, body.generation, body.share, body.testers
            ),
        )

    @router.post("/shadow")
    async def shadow(body: ShadowBody) -> dict[str, Any]:
        """Let a target score a sample of the requests; nobody gets its answers."""
        return _told(
            plane, await operator.shadow(body.order(), body.version, body.generation, body.sample)
        )


def _add_ends(router: APIRouter, plane: ControlPlane) -> None:
    operator = plane.operator
    orders: dict[str, tuple[Callable[[Order], Any], str]] = {
        "/rollback": (operator.rollback, "Go back to the previous champion, which is loaded."),
        "/canary/stop": (operator.stop_canary, "Give the canary's users back to the champion."),
        "/shadow/stop": (operator.stop_shadow, "End the shadow."),
        "/promote/stop": (operator.withdraw, "Give up what is being prepared."),
    }
    for path, (carry_out, summary) in orders.items():
        router.post(path, summary=summary)(_ending(plane, carry_out))


def _ending(plane: ControlPlane, carry_out: Callable[[Order], Any]) -> Callable[[OrderBody], Any]:
    async def end(body: OrderBody) -> dict[str, Any]:
        return _told(plane, await carry_out(body.order()))

    return end


def _told(plane: ControlPlane, outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(outcome)
    return told | {"warnings": plane.warnings()}
