"""The judge: one replica looks at the canary for all of them, and rolls it back by itself."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from model.desired import Change, Desired, Target
from model.reference import ReferenceSketch
from service.control.agreement import Agreement
from service.control.bundle_parts import BundleParts, Unreadable
from service.control.changes import stop_canary
from service.control.guards import Alarm, Kind, Limits
from service.control.state_store import StateStore
from service.control.watch import Watch
from service.control.windows import Pair, References, Windows
from service.errors import ChangeRefused, StateUnavailable

LOOK_S = 1.0
"""Between two looks at the reports."""
LEASE_S = 5.0
"""How long another replica waits before it judges in this one's place."""
WHO = "guard"
"""Who rolls back, in the audit log."""

_log = logging.getLogger("choirrec")


class Judge:
    """Judges windows of the canary's answers while it holds the lease."""

    def __init__(
        self,
        store: StateStore,
        agreement: Agreement,
        watch: Watch,
        parts: BundleParts,
        limits: Limits,
        window_s: float,
    ) -> None:
        """Join the parts.

        Args:
            store: holds the lease.
            agreement: writes the rollback, and gathers the reports.
            watch: knows the desired state.
            parts: reads the reference sketches.
            limits: from where on something is a fault.
            window_s: between two verdicts at least.
        """
        self._store = store
        self._agreement = agreement
        self._watch = watch
        self._parts = parts
        self._limits = limits
        self._window_s = window_s
        self._windows: Windows | None = None
        self._trouble: set[str] = set()
        self._unjudged: set[str] = set()
        """Why drift and alpha_fusion were not judged in the last look."""
        self._rolled_back: Callable[[Sequence[Kind]], None] = lambda kinds: None

    def on_rollback(self, listener: Callable[[Sequence[Kind]], None]) -> None:
        """Call somebody with the faults of every canary that this replica rolled back."""
        self._rolled_back = listener

    def findings(self) -> dict[str, Any]:
        """How far the present window is, for the replica's report; nothing where another judges."""
        if self._windows is None:
            return {}
        return {WHO: self._windows.told() | {"unjudged": sorted(self._unjudged)}}

    async def run(self) -> None:
        """Look until cancelled; nothing that goes wrong ends it."""
        while True:
            try:
                await self.look(time.monotonic())
            except (StateUnavailable, ChangeRefused) as error:
                _log.debug("the canary cannot be judged now: %s", error.detail)
            except Exception:
                _log.exception("judging the canary went wrong; it goes on")
            await asyncio.sleep(LOOK_S)

    async def look(self, now_s: float) -> None:
        """Take in the reports, and roll the canary back where a window shows a fault.

        Args:
            now_s: the present moment on a clock that only grows.

        Raises:
            StateUnavailable: when the state store cannot be reached.
            ChangeRefused: when there is no desired state any more.
        """
        desired = self._watch.known
        if desired is None or desired.canary is None:
            self._windows = None
            return
        if not await self._store.lease(self._watch.identity.replica, LEASE_S):
            self._windows = None
            return
        canary = desired.canary.target
        self._unjudged.clear()
        windows = self._window_of(Pair(str(canary), str(desired.champion)), now_s)
        references = References(
            await self._reference(desired, canary), await self._reference(desired, desired.champion)
        )
        alarms = windows.look(await self._agreement.replicas(), references, now_s)
        if alarms:
            await self._roll_back(desired, canary, alarms)

    def _window_of(self, pair: Pair, now_s: float) -> Windows:
        if self._windows is None or self._windows.pair != pair:
            self._windows = Windows(pair, self._limits, self._window_s, now_s)
        return self._windows

    async def _reference(self, desired: Desired, target: Target) -> ReferenceSketch | None:
        digest = desired.bundles.get(target.version)
        try:
            return await self._parts.reference(target.version, digest)
        except Unreadable as error:
            self._unjudged.add(str(error))
            if str(error) not in self._trouble:
                self._trouble.add(str(error))
                _log.warning("drift and alpha_fusion of the canary are not judged: %s", error)
            return None

    async def _roll_back(self, judged: Desired, canary: Target, alarms: Sequence[Alarm]) -> None:
        why = "; ".join(alarm.reason for alarm in alarms)
        evidence = {
            "canary": str(canary),
            "champion": str(judged.champion),
            "alarms": [asdict(alarm) for alarm in alarms],
        }
        change = Change("roll back canary", WHO, why, time.time(), evidence=evidence)

        def step(present: Desired) -> Desired:
            still = present.canary is not None and present.canary.target == canary
            # Somebody may have stopped, promoted or replaced it meanwhile.
            same = still and present.champion == judged.champion
            return stop_canary(present, change) if same else present

        before, after = await self._agreement.change(step)
        self._windows = None
        if after != before:
            _log.error("the canary %s was rolled back: %s", canary, why)
            self._rolled_back([alarm.kind for alarm in alarms])
