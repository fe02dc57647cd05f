"""Reading the records of a request: at most two round trips, one deadline, nothing trusted."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from model.assembly import misfit
from model.generation import Generation, group_key, new_item_key, user_key
from model.records import (
    CorruptRecord,
    GroupRecord,
    ItemRecord,
    UserRecord,
    decode_group,
    decode_item,
    decode_user,
)
from model.spec import FeatureSpec
from service.features.ladder import climb_down, prefixes, step_name
from service.features.priors import GLOBAL, Prior, Priors
from service.features.store import FeatureStore, StoreUnavailable
from service.metrics import Metrics

Record = TypeVar("Record", UserRecord, GroupRecord, ItemRecord)
Prefix = tuple[int, ...]


StandIn = Callable[[], tuple[UserRecord, float]]
"""Makes what stands in for a record that is not there, and the confidence in its group_id."""


@dataclass(frozen=True)
class Ask:
    """What one request needs."""

    user_id: str
    new_items: Sequence[str]
    """Ids of candidates outside the catalogue."""
    stand_in: StandIn | None = None
    """None: the request tells nothing of its user."""


@dataclass(eq=False)
class Evidence:
    """What one answer rests on."""

    user: UserRecord | None
    """The record, or what stands in for it."""
    user_status: str
    """known, newcomer (no record, grouped by the request's attributes), unknown (no record) or
    unavailable (it could not be read or used)."""
    confidence: float | None
    """In the group_id of what stands in for a record; None: nothing stands in."""
    activity_level: int | None
    """1 (lowest) to 5; None: the user's activity could not be read."""
    prior: Prior
    step: str
    """The step of the ladder that gave the prior."""
    new_items: Mapping[str, ItemRecord]
    degraded: list[str]
    """Reasons, as ``service.metrics.DEGRADED`` names them."""


@dataclass(eq=False)
class _Found:
    """What was read for one request so far."""

    status: str = "unavailable"
    user: UserRecord | None = None
    confidence: float | None = None
    new_items: dict[str, ItemRecord] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @property
    def prefix(self) -> Prefix:
        return self.user.prefix if self.user else GLOBAL

    @property
    def stood_in(self) -> bool:
        return self.confidence is not None


class RecordReader:
    """Reads records of one generation for one bundle."""

    def __init__(
        self,
        store: FeatureStore,
        spec: FeatureSpec,
        generation: Generation | None,
        priors: Priors,
        metrics: Metrics,
        budget_s: float,
    ) -> None:
        """Make a reader.

        Args:
            store: holds the records.
            spec: what records must fit.
            generation: whose records to read; None: there is none to read.
            priors: keeps group priors, of the same generation.
            metrics: counts what is found.
            budget_s: time for all round trips of one call, in seconds.
        """
        self._store = store
        self._spec = spec
        self._generation = generation
        self._priors = priors
        self._metrics = metrics
        self._budget_s = budget_s

    async def read(self, asks: Sequence[Ask]) -> list[Evidence]:
        """Read what R requests need: users and new items at once, then groups not yet kept.

        Args:
            asks: R requests.

        Returns:
            R pieces of evidence; whatever could not be read is replaced by the ladder.
        """
        found = [_Found() for _ in asks]
        if self._generation is None:
            _note(found, "no_generation")
        else:
            deadline_s = asyncio.get_running_loop().time() + self._budget_s
            await self._read_all(self._generation, asks, found, deadline_s)
        _stand_in(asks, found)
        return [self._evidence(one) for one in found]

    def snapshot(self) -> Prior:
        """The bundle's own global prior, which needs no record."""
        return self._priors.snapshot(GLOBAL)

    async def read_global_prior(self, deadline_s: float) -> None:
        """Read the generation's global prior, so that it is at hand from the first answer on.

        Raises:
            StoreUnavailable: when the store cannot be read.
            LookupError: when there is no intact global prior: the generation is damaged.
        """
        if self._generation is None:
            return
        name = self._generation.name
        (blob,) = await self._store.read([group_key(name, GLOBAL)], deadline_s)
        record = self._decoded("group", blob, partial(decode_group, prefix=GLOBAL))
        if record is None:
            raise LookupError(
                f"generation {name}: its global prior is missing or damaged; publish it again"
            )
        self._priors.add(record)

    @property
    def kept(self) -> Sequence[Prefix]:
        """The prefixes whose priors are kept, the most recently used last."""
        return self._priors.prefixes

    async def keep(self, prefixes: Sequence[Prefix]) -> None:
        """Read priors that nobody asked for yet; they are the first to be dropped again.

        Raises:
            StoreUnavailable: when the store cannot be read within the budget of a call.
        """
        if self._generation is not None:
            deadline_s = asyncio.get_running_loop().time() + self._budget_s
            await self._keep(self._generation, prefixes, deadline_s)
            self._priors.make_oldest(prefixes)

    async def _read_all(
        self, generation: Generation, asks: Sequence[Ask], found: list[_Found], deadline_s: float
    ) -> None:
        keys = [user_key(generation.name, ask.user_id) for ask in asks]
        # A generation without new items need not be asked for them.
        items = [(n, i) for n, ask in enumerate(asks) for i in ask.new_items if generation.items]
        keys += [new_item_key(generation.name, item_id) for _, item_id in items]
        try:
            blobs = await self._store.read(keys, deadline_s)
            self._take_users(asks, found, blobs[: len(asks)])
            self._take_items(found, items, blobs[len(asks) :])
            _stand_in(asks, found)
            await self._read_groups(generation, found, deadline_s)
        except StoreUnavailable as failure:
            _note(found, failure.reason)

    async def _read_groups(
        self, generation: Generation, found: list[_Found], deadline_s: float
    ) -> None:
        """Read the prefixes that are not kept yet, with every shorter one, in one round trip."""
        missing = {prefix for one in found for prefix in self._unread(one)}
        if not missing:
            return
        corrupt = await self._keep(generation, sorted(missing), deadline_s)
        for one in found:
            if reason := self._group_reason(one, corrupt):
                one.reasons.append(reason)

    async def _keep(
        self, generation: Generation, prefixes: Sequence[Prefix], deadline_s: float
    ) -> set[Prefix]:
        """Read priors and keep them; gives the prefixes whose records are damaged."""
        keys = [group_key(generation.name, prefix) for prefix in prefixes]
        blobs = await self._store.read(keys, deadline_s)
        corrupt = set()
        for prefix, blob in zip(prefixes, blobs, strict=True):
            record = self._decoded("group", blob, partial(decode_group, prefix=prefix))
            if record is not None:
                self._priors.add(record)
            elif blob is not None:
                corrupt.add(prefix)
            else:
                self._priors.add_absence(prefix)
        return corrupt

    def _unread(self, one: _Found) -> list[Prefix]:
        """Prefixes to ask for: none when the prior of the user's own prefix is kept.

        Offline chose a user's prefix by the members of the groups; a newcomer's is chosen here,
        so every prefix must be known, and one without members has no record.
        """
        kept = self._priors
        if one.stood_in:
            unread = (p for p in prefixes(one.prefix) if not kept.is_absent(p))
            return [prefix for prefix in unread if kept.get(prefix) is None]
        if kept.get(one.prefix) is not None:
            return []
        return [prefix for prefix in prefixes(one.prefix) if kept.get(prefix) is None]

    def _group_reason(self, one: _Found, corrupt: set[Prefix]) -> str | None:
        """Why a group's own prior is not at hand after it was asked for; None: it is."""
        if one.stood_in:
            damaged = not corrupt.isdisjoint(prefixes(one.prefix))
            return "group_record_corrupt" if damaged else None
        if self._priors.get(one.prefix) is not None:
            return None
        return "group_record_corrupt" if one.prefix in corrupt else "group_record_missing"

    def _take_users(
        self, asks: Sequence[Ask], found: list[_Found], blobs: Sequence[bytes | None]
    ) -> None:
        for ask, one, blob in zip(asks, found, blobs, strict=True):
            if blob is None:
                one.status = "unknown"
                one.reasons.append("user_unknown")
                continue
            one.user = self._decoded("user", blob, partial(decode_user, user_id=ask.user_id))
            if one.user is None:
                one.reasons.append("user_record_corrupt")
            else:
                one.status = "known"
                self._metrics.record_age.observe(max(time.time() - one.user.written_at_s, 0.0))

    def _take_items(
        self,
        found: list[_Found],
        items: Sequence[tuple[int, str]],
        blobs: Sequence[bytes | None],
    ) -> None:
        for (request, item_id), blob in zip(items, blobs, strict=True):
            record = self._decoded("item", blob, partial(decode_item, item_id=item_id))
            if record is not None:
                found[request].new_items[item_id] = record
            elif blob is not None and "item_record_corrupt" not in found[request].reasons:
                found[request].reasons.append("item_record_corrupt")

    def _decoded(
        self, kind: str, blob: bytes | None, decode: Callable[[bytes], Record]
    ) -> Record | None:
        """A record that is intact and fits, else None; what is damaged is counted."""
        if blob is None:
            return None
        try:
            record = decode(blob)
        except CorruptRecord:
            self._metrics.corrupt_records.labels(kind).inc()
            return None
        if misfit(self._spec, record) is not None:
            self._metrics.corrupt_records.labels(kind).inc()
            return None
        return record

    def _evidence(self, one: _Found) -> Evidence:
        n_min = self._spec.n_min if one.stood_in else 0
        prior = climb_down(self._priors, one.prefix, n_min)
        if prior.from_snapshot:
            one.reasons.append("prior_snapshot")
        found = one.status == "known"
        return Evidence(
            user=one.user,
            user_status=one.status,
            confidence=one.confidence,
            activity_level=self._activity_level(one),
            prior=prior,
            step=step_name(prior, one.prefix, user_found=found, newcomer=one.stood_in),
            new_items=one.new_items,
            degraded=one.reasons,
        )

    def _activity_level(self, one: _Found) -> int | None:
        """None when the user may have been active, but how much could not be read."""
        if one.status == "unavailable":
            return None
        return self._spec.activity_level(one.user.window_purchases if one.user else 0)


def _stand_in(asks: Sequence[Ask], found: Sequence[_Found]) -> None:
    """Let the attributes of a request stand in for a record that is not at hand."""
    for ask, one in zip(asks, found, strict=True):
        if one.user is None and ask.stand_in is not None:
            one.user, one.confidence = ask.stand_in()
            one.reasons = [reason for reason in one.reasons if reason != "user_unknown"]
            one.reasons.append("newcomer")
            if one.status == "unknown":
                one.status = "newcomer"


def _note(found: Sequence[_Found], reason: str) -> None:
    for one in found:
        one.reasons.append(reason)
