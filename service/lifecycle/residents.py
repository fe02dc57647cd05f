"""Residents: the targets that a worker holds or tries to hold, each with its state."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from model.desired import Target
from service.lifecycle.served_model import LoadedBundle, ServedModel
from service.lifecycle.states import State, TargetState

Key = Target | None
"""None: what serves by its snapshot until a desired state is known."""

RETRY_S = 1.0
"""Between attempts to reach what was missing."""
LONGEST_RETRY_S = 30.0
"""Between attempts at what was refused: each copies and checks a whole bundle."""


@dataclass(eq=False)
class Resident:
    """One target in this worker."""

    version: int
    """0: the newest, not known yet."""
    generation: str
    state: State = "fetching"
    reason: str | None = None
    """Why it failed, or why it serves without its generation."""
    served: ServedModel | None = None
    """None: it is not ready."""
    seconds: float | None = None
    revision: int = 0
    """Under which it was tried last."""
    failures: int = 0
    retry_s: float | None = None
    """When it may be tried again, on the monotonic clock; None: under a new revision only."""
    began_s: float = field(default_factory=time.monotonic)

    def begin(self, revision: int) -> None:
        """It is tried (again)."""
        self.state, self.reason, self.revision = "fetching", None, revision
        self.began_s = time.monotonic()

    def succeed(self, served: ServedModel, reason: str | None) -> None:
        """It is ready."""
        self.served, self.state, self.reason = served, "ready", reason
        self.version = served.version
        self.generation = self.generation or served.generation_name
        self.seconds = time.monotonic() - self.began_s
        self.failures = 0

    def fail(self, reason: str, *, again: bool, patient: bool) -> None:
        """It is not ready.

        Args:
            reason: the exact one.
            again: whether it is tried again by itself.
            patient: whether each failure doubles the time until then.
        """
        self.state, self.reason = "failed", reason
        self.failures += 1
        doubled = RETRY_S * 2 ** min(self.failures - 1, 10)
        pause_s = min(doubled, LONGEST_RETRY_S) if patient else RETRY_S
        self.retry_s = time.monotonic() + pause_s if again else None

    def is_due(self, revision: int) -> bool:
        """Whether it is to be tried now."""
        if self.served is not None or self.state != "failed":
            return self.served is None
        if revision > self.revision:
            return True
        return self.retry_s is not None and time.monotonic() >= self.retry_s

    def report(self) -> TargetState:
        """As others read it."""
        served = self.served
        return TargetState(
            version=self.version,
            generation=self.generation,
            state=self.state,
            reason=self.reason,
            seconds=self.seconds,
            bundle_digest=served.bundle_digest if served else None,
            feature_contract=served.feature_contract if served else None,
            provider=served.loaded.provider if served else None,
            leases=served.leases if served else 0,
        )


class Residents:
    """All of them, and the models that only wait for their last request to end."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Resident] = {}
        self._draining: set[ServedModel] = set()

    def __iter__(self) -> Iterator[tuple[Key, Resident]]:
        return iter(list(self._by_key.items()))

    def get(self, key: Key) -> Resident | None:
        """The resident of a target, if it has one."""
        return self._by_key.get(key)

    def enter(self, key: Key, version: int | None) -> Resident:
        """The resident of a target, a new one if it has none."""
        if key not in self._by_key:
            self._by_key[key] = Resident(version or 0, key.generation if key else "")
        return self._by_key[key]

    def leave(self, key: Key) -> ServedModel | None:
        """Take a target out; what it served is the caller's to drain."""
        return self._by_key.pop(key).served

    def drain(self, served: ServedModel) -> None:
        """Note a model that takes no new requests."""
        self._draining.add(served)

    def drained(self, served: ServedModel) -> None:
        """Forget it."""
        self._draining.discard(served)

    def loaded(self, version: int) -> LoadedBundle | None:
        """The bundle of a version that is in memory already."""
        models = (*(r.served for r in self._by_key.values() if r.served), *self._draining)
        return next((model.loaded for model in models if model.version == version), None)

    def asked_for(self) -> Sequence[tuple[int, ...]]:
        """The prefixes whose priors were asked for, by what was asked most."""
        kept = (r.served.reader.kept for r in self._by_key.values() if r.served)
        return max(kept, key=len, default=())

    @property
    def draining(self) -> Sequence[ServedModel]:
        """Models that only wait for their last request to end."""
        return tuple(self._draining)

    def next_retry_s(self) -> float | None:
        """When the next one that failed may be tried again; None: none is."""
        waiting = (r.retry_s for r in self._by_key.values() if r.state == "failed")
        return min((retry_s for retry_s in waiting if retry_s is not None), default=None)

    def reports(self) -> tuple[TargetState, ...]:
        """Every target; a draining one only when the same target is not held anew."""
        held = [resident.report() for resident in self._by_key.values()]
        names = {(target.version, target.generation) for target in held}
        ending = [_ending(model) for model in self._draining]
        return tuple(held + [t for t in ending if (t.version, t.generation) not in names])


def _ending(model: ServedModel) -> TargetState:
    return TargetState(
        version=model.version,
        generation=model.generation_name,
        state="draining",
        bundle_digest=model.bundle_digest,
        feature_contract=model.feature_contract,
        provider=model.loaded.provider,
        leases=model.leases,
    )
