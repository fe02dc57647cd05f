"""The present: the parts that would decide a logged request's scores now."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.features.reader import Ask, Evidence
from service.features.redis_store import RedisStore
from service.feedback.logged import STOOD_IN, LoggedRequest, Parts
from service.lifecycle.joining import Joiner
from service.lifecycle.served_model import LoadedBundle, ServedModel
from service.lifecycle.tally import Tally
from service.metrics import Metrics
from service.settings import Settings

BUDGET_MS = 2000.0
"""For reading the present records: nobody waits for them as a caller does."""


@dataclass(frozen=True, eq=False)
class Present:
    """What was read now."""

    generation: str
    parts: Parts
    notes: Sequence[str]
    """What of the present could not be told, and so was left as it was logged."""


async def read_present(
    settings: Settings, loaded: LoadedBundle, logged: LoggedRequest, generation: str | None
) -> Present:
    """Read the records that would answer a logged request now.

    Args:
        settings: name the Redis.
        loaded: the model that would answer.
        logged: the request.
        generation: its name; None: the newest complete one that fits.

    Raises:
        LoadRefused, LoadUnavailable: when there is no such generation, or it cannot be read.
    """
    metrics = Metrics()
    store = RedisStore(settings.redis_url, metrics.round_trips)
    patient = settings.model_copy(update={"fetch_budget_ms": BUDGET_MS})
    try:
        tally = Tally(loaded.bundle.reference)
        served = await Joiner(store, patient, metrics).join(loaded, generation, tally)
        (evidence,) = await served.reader.read([_ask(served, logged)])
    finally:
        await store.close()
    parts, notes = _parts(evidence, logged)
    return Present(served.generation_name, parts, notes)


def _ask(served: ServedModel, logged: LoggedRequest) -> Ask:
    """What the request asked for; a user who is hidden or has no record keeps what stood in."""
    hidden, user = bool(logged.row["user_hashed"]), logged.parts.user
    outside = served.scorer.resolve(logged.item_ids).outside
    stands_in = hidden or logged.row["user_status"] in STOOD_IN
    return Ask(
        # No record has the empty id.
        user_id="" if hidden else str(logged.row["user_id"]),
        new_items=outside,
        stand_in=(lambda: (user, 0.0)) if stands_in and user is not None else None,
    )


def _parts(evidence: Evidence, logged: LoggedRequest) -> tuple[Parts, list[str]]:
    notes = []
    user, row = evidence.user, None
    if logged.row["user_hashed"]:
        notes.append("the log hides its users: the user's present record cannot be read")
        user, row = logged.parts.user, logged.parts.user_row
    elif evidence.user_status == "unavailable":
        notes.append(f"the user's present record: {', '.join(evidence.degraded)}")
        user = logged.parts.user
    prior = evidence.prior
    return Parts(user, row, prior.record, prior.as_of_s, evidence.new_items), notes
