"""The watch: a replica follows the desired state, keeps a copy of it, and says how it stands."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from model.desired import Change, Desired, Target
from service.control.changes import again, pin, withdraw
from service.control.local_copy import LocalCopy
from service.control.orphan import OrphanClock
from service.control.pins import Pins
from service.control.roll import Roll
from service.control.state_store import StateStore
from service.errors import LoadRefused, StateUnavailable
from service.lifecycle.states import ReplicaState
from service.logs import one_line
from service.supervisor.fleet import Fleet

POLL_S = 0.25
"""Between two looks at the state store."""
RETRY_S = 1.0
"""Between two attempts to write the first document."""
REPORT_S = 1.0
"""Between two reports when nothing changes."""
REPORT_LIFE_S = 5.0
"""How long a replica that died still counts."""
_REPORT_PAUSE_S = 0.05

Choose = Callable[[], Awaitable[Target]]
"""The champion to begin with."""

_log = logging.getLogger("choirrec")


@dataclass(frozen=True)
class Identity:
    """Who a replica is to the others."""

    replica: str
    """Unique among those that share a desired state, and the same after a restart."""
    host: str


@dataclass(frozen=True)
class Beginning:
    """What a replica does where no desired state stands anywhere."""

    choose: Choose
    """Raises LoadRefused while there is nothing to choose."""
    version: int | None
    """What to serve by its snapshot meanwhile; None: the newest."""


class Watch:
    """Follows the state store for one replica. Every method belongs to the event loop's thread."""

    def __init__(
        self,
        store: StateStore,
        fleet: Fleet,
        copy: LocalCopy,
        beginning: Beginning,
        identity: Identity,
    ) -> None:
        """Begin with the local copy, which is followed only where the store does not answer.

        Args:
            store: holds the shared document.
            fleet: this replica's workers.
            copy: the document that this replica followed last.
            beginning: where there is no document at all.
            identity: of this replica.
        """
        self._store = store
        self._fleet = fleet
        self._copy = copy
        self._beginning = beginning
        self._identity = identity
        self._woken = asyncio.Event()
        self._first_try_s = 0.0
        self._orphan = OrphanClock()
        self._pins = Pins()
        self.roll = Roll(REPORT_LIFE_S, identity.replica)
        """Who reported lately, and who fell silent."""
        self.known = copy.read()
        """The newest document this replica has seen."""
        self.told = 0
        """The revision that the workers were told; 0: none yet."""
        self.findings: Callable[[], Mapping[str, Any]] = dict
        """What this replica's siblings and guards found, for its reports; set by whoever asks."""
        self._following: str | None = None
        """Why the store or a first document is missing; None: it is followed."""
        self._reporting: str | None = None
        """Why no report is written or heard; None: they are."""

    @property
    def trouble(self) -> str | None:
        """Why the state store, a first document or the reports are missing; None: all is well."""
        return self._following or self._reporting

    @property
    def identity(self) -> Identity:
        """Who this replica is."""
        return self._identity

    def state(self) -> ReplicaState:
        """How this replica stands now."""
        return ReplicaState(
            replica=self._identity.replica,
            host=self._identity.host,
            when_s=time.time(),
            revision=self.told,
            workers=tuple(self._fleet.states()),
            findings=self.findings(),
        )

    def wake(self) -> None:
        """Look at the store now, for it has just been changed."""
        self._woken.set()

    def follow(self, written: Desired) -> None:
        """Follow a document that was just written, which a store that loses it gets back."""
        if self.known is None or written.revision > self.known.revision:
            # As it will be read back: JSON makes lists of an evidence's tuples.
            self._take(Desired.from_json(written.to_json()))
        self.wake()

    async def run(self) -> None:
        """Follow and report until cancelled; nothing that goes wrong ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._follow_and_rest))
            tasks.create_task(self._repeat(self._report_and_rest))

    async def follow_once(self) -> None:
        """Look at the store and do what follows from it."""
        try:
            found = await self._store.read()
            await self._reconcile(found)
        except StateUnavailable as error:
            self._in_trouble(error.detail)
            self._go_on_without()

    async def report_once(self) -> None:
        """Tell the other replicas how this one stands, and hear them, if the store answers."""
        try:
            await self._store.report(self.state(), REPORT_LIFE_S)
            self.roll.call(await self._store.replicas())
        except StateUnavailable as error:
            self._cannot_report(f"this replica cannot report to the others: {error.detail}")
        else:
            self._reporting = None

    async def _reconcile(self, found: Desired | None) -> None:
        known = self.known
        if known is None and found is None:
            await self._begin()
            return
        if found is not None and (known is None or found.revision > known.revision):
            known = self._take(found)
        elif known is not None and (found is None or found.revision < known.revision):
            await self._put_back(found, known)
        elif found is not None and found != known:
            await self._settle(found)
        self._well()
        self._push()
        if known is not None and self._orphan.is_orphan(known):
            change = self._change("withdraw", "whoever asked for the candidate is gone")
            await self._store.change(known.revision, withdraw(known, change))
            self.wake()
        elif known is not None:
            await self._pin(known)

    async def _begin(self) -> None:
        """Write the first document, or let the workers serve by the snapshot until one can be."""
        if time.monotonic() < self._first_try_s:
            return
        self._first_try_s = time.monotonic() + RETRY_S
        try:
            champion = await self._beginning.choose()
        except LoadRefused as refusal:
            self._in_trouble(f"no desired state yet: {refusal.detail}")
            self._go_on_without()
            return
        change = self._change("first", "no desired state stood anywhere; by this one's settings")
        # The salt of a first document is never used: there is no canary.
        await self._store.change(0, Desired(1, champion, change, "none"))
        self.wake()

    async def _put_back(self, found: Desired | None, known: Desired) -> None:
        revision = 0 if found is None else found.revision
        if await self._store.change(revision, known):
            _log.warning(
                "the state store held revision %d; revision %d was put back",
                revision,
                known.revision,
            )

    async def _settle(self, found: Desired) -> None:
        """Two documents of one revision: what the store holds wins, under the next number."""
        change = self._change("settle", f"another revision {found.revision} had been followed")
        await self._store.change(found.revision, again(found, change))
        self.wake()

    async def _pin(self, known: Desired) -> None:
        """Write down which bundles all workers hold, where the document does not tell yet."""
        found = self._pins.missing(known, self.roll.present())
        if not found:
            return
        told = ", ".join(f"{version}: {digest}" for version, digest in found.items())
        change = self._change("pin", f"every worker holds this bundle by this number ({told})")
        # Of replicas that find the same at once, the store takes one's; the others follow it.
        await self._store.change(known.revision, pin(known, found, change))
        self.wake()

    def _take(self, found: Desired) -> Desired:
        _log.info(
            "revision %d of the desired state: champion %s (%s by %s: %s)",
            found.revision,
            found.champion,
            found.change.action,
            one_line(found.change.who),
            one_line(found.change.why),
        )
        if self.known is None and self._beginning.version not in (None, found.champion.version):
            _log.warning(
                "CHOIRREC_MODEL_VERSION is %s, but the desired state decides; promote to change it",
                self._beginning.version,
            )
        self.known = found
        self._copy.write(found)
        return found

    def _push(self) -> None:
        if self.known is not None and self.told != self.known.revision:
            self.told = self.known.revision
            self._fleet.push(self.known)

    def _go_on_without(self) -> None:
        if self.known is None:
            self._fleet.bootstrap(self._beginning.version)
        self._push()

    def _in_trouble(self, reason: str) -> None:
        if self._following != reason:
            _log.warning("%s", reason)
        self._following = reason

    def _well(self) -> None:
        if self._following is not None:
            _log.info("the desired state is followed again")
        self._following = None

    def _cannot_report(self, reason: str) -> None:
        # A store that is away altogether is told by whoever follows it.
        if self._following is None and self._reporting != reason:
            _log.warning("%s", reason)
        self._reporting = reason

    def _change(self, action: str, why: str) -> Change:
        return Change(action, self._identity.replica, why, time.time())

    async def _follow_and_rest(self) -> None:
        await self.follow_once()
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()
        self._woken.clear()

    async def _report_and_rest(self) -> None:
        # Listening begins before the report, so that no change falls between two of them.
        change = asyncio.create_task(self._fleet.changed())
        try:
            await self.report_once()
            await asyncio.sleep(_REPORT_PAUSE_S)
            await asyncio.wait((change,), timeout=REPORT_S)
        finally:
            change.cancel()

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception:
                _log.exception("following the desired state went wrong; it goes on")
                await asyncio.sleep(RETRY_S)
