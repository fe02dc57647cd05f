"""States: what a worker and a replica say of the targets they hold, as others read it."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

State = Literal[
    "fetching", "verifying", "loading", "golden", "warming", "ready", "active", "draining", "failed"
]
SETTLED: frozenset[State] = frozenset(("ready", "active", "failed"))
"""States in which nothing more happens by itself."""


class TargetState(msgspec.Struct, frozen=True, kw_only=True):
    """One (version, generation) in one worker."""

    version: int
    generation: str
    state: State
    reason: str | None = None
    """Why it failed; None otherwise."""
    seconds: float | None = None
    """From its first step to ready."""
    bundle_digest: str | None = None
    feature_contract: str | None = None
    provider: str | None = None
    leases: int = 0
    """Requests being answered with it now."""

    @property
    def name(self) -> str:
        """As ``version/generation``."""
        return f"{self.version}/{self.generation}"


class RoleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one (version, generation) has answered since the worker began; counts only grow."""

    requests: int = 0
    errors: int = 0
    """Answers of status 500 and above."""
    latency: tuple[int, ...] = ()
    """Answers by edge of ``choirrec_request_duration_seconds``, the last beyond all edges."""
    score: Mapping[str, tuple[int, ...]] = {}
    """Candidates by activity level and bin of the bundle's reference sketch."""
    alpha: Mapping[str, tuple[int, float]] = {}
    """Answers and their summed alpha_fusion, by activity level."""
    alpha_squares: Mapping[str, float] = {}
    """Summed squares of alpha_fusion, by activity level."""


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """One worker."""

    worker: int
    pid: int
    revision: int
    """The last revision whose targets have all settled here; 0: none yet."""
    roles_revision: int = 0
    """The last revision whose champion and canary answer here; what else it names may load yet."""
    ready: bool
    """Whether it welcomes requests."""
    draining: bool = False
    targets: tuple[TargetState, ...] = ()
    champion: str | None = None
    """The target that answers as champion now, as ``version/generation``."""
    canary: str | None = None
    counts: Mapping[str, RoleCounts] = {}
    """By ``version/generation``."""


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True):
    """One supervisor and its workers, as it last reported."""

    replica: str
    """Unique among those that share a desired state."""
    host: str
    when_s: float
    """Seconds since the epoch."""
    revision: int
    """The revision that it has told its workers."""
    workers: tuple[WorkerState, ...] = ()
    findings: Mapping[str, Any] = {}
    """JSON by who found it: the comparison ``canary`` or ``shadow``, or the ``guard``."""

    @property
    def converged(self) -> int:
        """The last revision that all its workers have settled; 0 without workers."""
        return min((worker.revision for worker in self.workers), default=0)
