"""A logged request: the parts that decided its scores, as they were read from the log."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.assembly import group_arrays
from model.records import (
    CorruptRecord,
    GroupRecord,
    ItemRecord,
    UserRecord,
    decode_group,
    decode_item,
    decode_user,
    parse_prefix,
)
from model.served_log import SERVED
from service.feedback.opening import logged_rows
from service.lifecycle.served_model import LoadedBundle
from service.scorer import Moment, Scores

STOOD_IN = ("newcomer", "unavailable")
"""User statuses in which the request's own attributes may stand in for a record."""
_log = logging.getLogger("choirrec")


class NotLogged(LookupError):
    """A request that cannot be replayed: why."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What decides a score besides the model, the candidates and the moment."""

    user: UserRecord | None
    """The record or what stood in for it; None: nothing was known."""
    user_row: int | None
    """Of the user table, where the record does not name its user; None: by the record."""
    group: GroupRecord
    group_as_of_s: int
    """Ages of the group sequence count from here."""
    new_items: Mapping[str, ItemRecord]


@dataclass(frozen=True, eq=False)
class LoggedRequest:
    """One row of the log."""

    row: Mapping[str, Any]
    """By column (``model.served_log.SERVED_COLUMNS``)."""
    parts: Parts
    item_ids: Sequence[str]
    moment: Moment
    rows: int
    """How often its id stands in the log; the last answer is this one."""

    @property
    def scores(self) -> Scores:
        """What was answered, float32 ``[C]`` each."""
        return Scores(
            individual_logits=self._column("individual_logits"),
            group_logits=self._column("group_logits"),
            fused_logits=self._column("fused_logits"),
            scores=self._column("scores"),
            alpha_fusion=float(self.row["alpha_fusion"]),
        )

    def _column(self, name: str) -> NDArray[np.float32]:
        return np.array(self.row[name], np.float32)


def find_logged(folder: Path, request_id: str) -> LoggedRequest:
    """Look a request up.

    Args:
        folder: of the log.
        request_id: as in the answer.

    Raises:
        NotLogged: when the log does not hold it, or a record in it is damaged.
        ValueError: when the folder is no log, or the package that reads it is not installed.
    """
    if not (folder / SERVED).is_dir():
        raise ValueError(
            f"{folder} is not the folder of a log, since there is no {folder / SERVED}; expected "
            "the one that CHOIRREC_LOG names"
        )
    damaged: list[str] = []
    rows = logged_rows(folder, SERVED, request_id, damaged.append)
    for told in damaged:
        _log.warning("%s", told)
    if not rows:
        unread = f", or it is in one of {len(damaged)} files that cannot be read"
        unread = unread if damaged else ""
        raise NotLogged(
            f"request {request_id!r} is not in {folder}: it was not sampled, its file is not "
            f"closed yet or was removed to make room, or it was never answered{unread}"
        )
    row = max(rows, key=lambda one: float(one["served_s"]))
    try:
        parts = _parts(row)
    except CorruptRecord as error:
        raise NotLogged(f"request {request_id!r}: {error}") from error
    moment = Moment(row["time_s"], row["hour"], row["weekday"])
    return LoggedRequest(row, parts, tuple(row["item_ids"]), moment, len(rows))


def rescore(loaded: LoadedBundle, parts: Parts, logged: LoggedRequest) -> Scores:
    """Score a logged request as a served one.

    Args:
        loaded: any model of the records' feature contract.
        parts: those of the log, or others in their place.
        logged: gives candidates and moment.

    Raises:
        NonFinite: as ``Scorer.score``.
    """
    bundle, scorer = loaded.bundle, loaded.scorer
    arrays = group_arrays(bundle.spec, bundle.catalogue, [parts.group], parts.group_as_of_s)
    candidates = scorer.candidates(scorer.resolve(logged.item_ids), parts.new_items)
    user = scorer.user_side(parts.user, logged.moment, parts.user_row)
    return scorer.score(*user, bundle.tables.group_inputs(arrays), candidates.tokens)


def _parts(row: Mapping[str, Any]) -> Parts:
    items = zip(row["new_item_ids"], row["new_item_records"], strict=True)
    hidden = bool(row["user_hashed"])
    return Parts(
        user=_user(row),
        user_row=int(row["user_row"]) if hidden else None,
        group=decode_group(row["group_record"], parse_prefix(row["prefix"])),
        group_as_of_s=int(row["group_as_of_s"]),
        new_items={item_id: decode_item(blob, item_id) for item_id, blob in items},
    )


def _user(row: Mapping[str, Any]) -> UserRecord | None:
    """The record; what stands in for one, and the record of a hidden user, name nobody."""
    blob = row["user_record"]
    if blob is None:
        return None
    nameless = bool(row["user_hashed"]) or row["user_status"] in STOOD_IN
    return decode_user(blob, "" if nameless else row["user_id"])
