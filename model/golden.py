"""Golden requests and the prior snapshot: the parts of a bundle that hold records."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import float_info
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.records import (
    GroupRecord,
    UserRecord,
    decode_group,
    decode_user,
    encode_record,
    parse_prefix,
    prefix_name,
)
from model.spec import MAX_ID_BYTES

LATEST_S = 253_402_300_799
"""The last second of the year 9999: no moment of a bundle lies beyond it."""


class WrongAnswers(ValueError):
    """Answers to a golden request that are not those of training: which, and by how much."""


class MalformedRecords(ValueError):
    """JSON that holds no golden requests or no snapshot: which field, and why."""


@dataclass(frozen=True, eq=False)
class GoldenRequest:
    """One request with the records that answer it."""

    user: UserRecord | None
    """None: an unknown user."""
    group: GroupRecord
    group_as_of_s: int
    """The generation's moment, from which the ages of the group sequence count."""
    request_time_s: int
    hour: int
    """0 to 23."""
    weekday: int
    """0 (Monday) to 6."""
    item_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Golden(GoldenRequest):
    """A request and the logits that training computed for it.

    A loaded version must reproduce these on the machine that serves it, within the manifest's
    tolerance of its provider, before it may answer anybody.
    """

    individual_logits: tuple[float, ...]
    group_logits: tuple[float, ...]
    alpha_fusion: float


@dataclass(frozen=True, eq=False)
class PriorSnapshot:
    """The global prior and the level-1 priors, for the day Redis is gone."""

    generation: str
    as_of_s: int
    records: Mapping[tuple[int, ...], GroupRecord]


def check_answers(
    golden: Golden,
    individual_logits: NDArray[np.float32],
    group_logits: NDArray[np.float32],
    alpha_fusion: float,
    tolerance: float,
) -> None:
    """Compare the answers of whoever runs the graphs with training's.

    Args:
        golden: the request of C candidates, with what training computed.
        individual_logits: float32 ``[C]``.
        group_logits: float32 ``[C]``.
        alpha_fusion: one number.
        tolerance: largest |difference| / max(1, |expected|) that passes.

    Raises:
        WrongAnswers: naming the candidate, the value and what was expected.
    """
    columns = {
        "individual_logit": (individual_logits, golden.individual_logits),
        "group_logit": (group_logits, golden.group_logits),
        "alpha_fusion": (np.array([alpha_fusion]), (golden.alpha_fusion,)),
    }
    for name, (found, wanted) in columns.items():
        expected = np.array(wanted)
        if found.shape != expected.shape:
            raise WrongAnswers(f"{name} of shape {found.shape}, expected {expected.shape}")
        # A NaN is within no tolerance.
        fits = np.abs(found - expected) <= tolerance * np.maximum(1.0, np.abs(expected))
        if not fits.all():
            place = int(np.argmin(fits))
            raise WrongAnswers(
                f"candidate {place}: {name} {found[place]:.8g}, expected {expected[place]:.8g} "
                f"within {tolerance:g}; export the bundle again"
            )
    if not 0.0 <= alpha_fusion <= 1.0:
        raise WrongAnswers(f"alpha_fusion {alpha_fusion}, expected 0..1")


def golden_to_json(goldens: Sequence[Golden]) -> str:
    """Write golden requests as JSON; records travel as base64 of their wire form."""
    return json.dumps([_golden_fields(golden) for golden in goldens], indent=1)


def golden_from_json(text: str) -> tuple[Golden, ...]:
    """Read what ``golden_to_json`` wrote.

    Raises:
        ValueError: no JSON at all.
        MalformedRecords: naming the request, the field, its value and what was expected.
    """
    requests = json.loads(text)
    if not isinstance(requests, list):
        raise MalformedRecords(f"{_shown(requests)}, expected a list of golden requests")
    goldens = []
    for number, fields in enumerate(requests):
        try:
            goldens.append(_golden(fields))
        except ValueError as error:
            raise MalformedRecords(f"request {number}: {error}") from error
    return tuple(goldens)


def snapshot_to_json(snapshot: PriorSnapshot) -> str:
    """Write the prior snapshot as JSON."""
    records = {prefix_name(p): _to_text(record) for p, record in snapshot.records.items()}
    return json.dumps(
        {"generation": snapshot.generation, "as_of_s": snapshot.as_of_s, "records": records},
        indent=1,
    )


def snapshot_from_json(text: str) -> PriorSnapshot:
    """Read what ``snapshot_to_json`` wrote.

    Raises:
        ValueError: no JSON at all.
        MalformedRecords: naming the field, its value and what was expected; also for a snapshot
            without the global prior.
    """
    fields = json.loads(text)
    generation = _text(fields, "generation")
    as_of_s = _whole(fields, "as_of_s", LATEST_S)
    blobs = _field(fields, "records")
    if not isinstance(blobs, dict):
        raise MalformedRecords(f"records {_shown(blobs)}, expected an object of records by prefix")
    records = {}
    for name in blobs:
        prefix = parse_prefix(name)
        records[prefix] = decode_group(_bytes(blobs, name), prefix)
    if () not in records:
        raise MalformedRecords("prior_snapshot.json holds no global prior (the record named '')")
    return PriorSnapshot(generation, as_of_s, records)


def _golden_fields(golden: Golden) -> dict[str, object]:
    return {
        "user_id": golden.user.user_id if golden.user else None,
        "user": _to_text(golden.user) if golden.user else None,
        "prefix": prefix_name(golden.group.prefix),
        "group": _to_text(golden.group),
        "group_as_of_s": golden.group_as_of_s,
        "request_time_s": golden.request_time_s,
        "hour": golden.hour,
        "weekday": golden.weekday,
        "item_ids": golden.item_ids,
        "individual_logits": golden.individual_logits,
        "group_logits": golden.group_logits,
        "alpha_fusion": golden.alpha_fusion,
    }


def _golden(fields: object) -> Golden:
    prefix = parse_prefix(_text(fields, "prefix", empty=True))
    unknown = _field(fields, "user") is None
    golden = Golden(
        user=None if unknown else decode_user(_bytes(fields, "user"), _text(fields, "user_id")),
        group=decode_group(_bytes(fields, "group"), prefix),
        group_as_of_s=_whole(fields, "group_as_of_s", LATEST_S),
        request_time_s=_whole(fields, "request_time_s", LATEST_S),
        hour=_whole(fields, "hour", 23),
        weekday=_whole(fields, "weekday", 6),
        item_ids=_item_ids(fields),
        individual_logits=tuple(_numbers(fields, "individual_logits")),
        group_logits=tuple(_numbers(fields, "group_logits")),
        alpha_fusion=_number(_field(fields, "alpha_fusion"), "alpha_fusion"),
    )
    _check_golden(golden)
    return golden


def _field(fields: object, name: str) -> Any:
    if not isinstance(fields, dict):
        raise MalformedRecords(f"{_shown(fields)}, expected an object")
    if name not in fields:
        raise MalformedRecords(f"{name} is missing")
    return fields[name]


def _text(fields: object, name: str, *, empty: bool = False) -> str:
    value = _field(fields, name)
    if not isinstance(value, str) or not (value or empty):
        raise MalformedRecords(f"{name} {_shown(value)}, expected a text")
    return value


def _bytes(fields: object, name: str) -> bytes:
    return base64.b64decode(_text(fields, name))


def _whole(fields: object, name: str, most: int) -> int:
    value = _field(fields, name)
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedRecords(f"{name} {_shown(value)}, expected a whole number of 0 to {most}")
    return value


def _number(value: Any, name: str) -> float:
    # Neither NaN nor an integer beyond every float is at most the largest of them.
    if type(value) not in (int, float) or not abs(value) <= float_info.max:
        raise MalformedRecords(f"{name} {_shown(value)}, expected a finite number")
    return float(value)


def _numbers(fields: object, name: str) -> list[float]:
    return [_number(value, f"{name}[{n}]") for n, value in enumerate(_list(fields, name))]


def _item_ids(fields: object) -> tuple[str, ...]:
    values = _list(fields, "item_ids")
    for place, value in enumerate(values):
        if not isinstance(value, str) or not 0 < len(value.encode()) <= MAX_ID_BYTES:
            raise MalformedRecords(
                f"item_ids[{place}] {_shown(value)}, expected a text of 1 to {MAX_ID_BYTES} bytes"
            )
    return tuple(values)


def _list(fields: object, name: str) -> list[Any]:
    value = _field(fields, name)
    if not isinstance(value, list):
        raise MalformedRecords(f"{name} {_shown(value)}, expected a list")
    return value


def _shown(value: object) -> str:
    """A value for a message, cut to a readable length."""
    return f"{value!r:.80}"


def _check_golden(golden: Golden) -> None:
    counts = (len(golden.item_ids), len(golden.individual_logits), len(golden.group_logits))
    if len(set(counts)) != 1 or not counts[0]:
        raise MalformedRecords(
            f"{counts} item ids, individual and group logits: expected as many of each, at least "
            "one"
        )


def _to_text(record: UserRecord | GroupRecord) -> str:
    return base64.b64encode(encode_record(record)).decode()
