"""Attribution: what each part, put in the place of the logged one, does to a request's scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.records import AnyRecord, encode_record
from service.feedback.logged import LoggedRequest, Parts, rescore
from service.lifecycle.served_model import LoadedBundle
from service.scorer import Scores

Doubles = NDArray[np.float64]
PARTS = ("model", "user record", "group record", "new items")
ALL = "all"


@dataclass(frozen=True, eq=False)
class Effect:
    """What the exchange of one part, or of all, does by itself."""

    part: str
    """One of ``PARTS``, or ``ALL``."""
    changed: bool
    """Whether the part is another one now; if not, nothing comes of it."""
    logit: Doubles
    """float64 ``[C]``: by how much each fused logit changes."""
    score: Doubles
    """float64 ``[C]``: by how much each score changes."""


def effects(
    before: LoadedBundle, after: LoadedBundle, now: Parts, logged: LoggedRequest
) -> Iterator[Effect]:
    """Exchange one part at a time, the others as they were logged.

    Args:
        before: the model that answered.
        after: the model of now, of the same feature contract.
        now: the records of now.
        logged: the request with its records.

    Yields:
        One effect per part, in the order of ``PARTS``.
    """
    was = logged.parts
    reference = rescore(before, was, logged)
    users = replace(was, user=now.user, user_row=now.user_row)
    groups = replace(was, group=now.group, group_as_of_s=now.group_as_of_s)
    items = replace(was, new_items=now.new_items)
    changed = (
        after.bundle.digest != before.bundle.digest,
        _bytes(was.user) != _bytes(now.user),
        (_bytes(was.group), was.group_as_of_s) != (_bytes(now.group), now.group_as_of_s),
        _all_bytes(was.new_items) != _all_bytes(now.new_items),
    )
    trials = ((after, was), (before, users), (before, groups), (before, items))
    for part, differs, (model, parts) in zip(PARTS, changed, trials, strict=True):
        scores = rescore(model, parts, logged) if differs else reference
        yield effect(part, reference, scores, changed=differs)


def effect(part: str, reference: Scores, scores: Scores, *, changed: bool) -> Effect:
    """The difference that an exchange made.

    Args:
        part: that was exchanged.
        reference: before it.
        scores: after it.
        changed: whether the part was another one at all.
    """
    return Effect(
        part,
        changed,
        scores.fused_logits.astype(np.float64) - reference.fused_logits,
        scores.scores.astype(np.float64) - reference.scores,
    )


def _bytes(record: AnyRecord | None) -> bytes | None:
    return None if record is None else encode_record(record)


def _all_bytes(records: Mapping[str, AnyRecord]) -> Mapping[str, bytes]:
    return {name: encode_record(record) for name, record in records.items()}
