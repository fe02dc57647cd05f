"""Golden requests and the prior snapshot: the parts of a bundle that hold records."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import index
from typing import Any

from model.records import (
    GroupRecord,
    UserRecord,
    decode_group,
    decode_user,
    encode_record,
    parse_prefix,
    prefix_name,
)


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


def golden_to_json(goldens: Sequence[Golden]) -> str:
    """Write golden requests as JSON; records travel as base64 of their wire form."""
    return json.dumps([_golden_fields(golden) for golden in goldens], indent=1)


def golden_from_json(text: str) -> tuple[Golden, ...]:
    """Read what ``golden_to_json`` wrote.

    Raises:
        ValueError, KeyError, TypeError: when the text holds no golden requests.
    """
    return tuple(_golden(fields) for fields in json.loads(text))


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
        ValueError, KeyError, TypeError: when the text holds no snapshot, or one without the
            global prior.
    """
    fields = json.loads(text)
    records = {
        parse_prefix(name): decode_group(base64.b64decode(blob), parse_prefix(name))
        for name, blob in fields["records"].items()
    }
    if () not in records:
        raise ValueError("prior_snapshot.json holds no global prior (the record named '')")
    return PriorSnapshot(fields["generation"], fields["as_of_s"], records)


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


def _golden(fields: Mapping[str, Any]) -> Golden:
    prefix = parse_prefix(fields["prefix"])
    user = fields["user"]
    golden = Golden(
        user=decode_user(base64.b64decode(user), fields["user_id"]) if user else None,
        group=decode_group(base64.b64decode(fields["group"]), prefix),
        group_as_of_s=index(fields["group_as_of_s"]),
        request_time_s=index(fields["request_time_s"]),
        hour=index(fields["hour"]),
        weekday=index(fields["weekday"]),
        item_ids=tuple(fields["item_ids"]),
        individual_logits=tuple(map(float, fields["individual_logits"])),
        group_logits=tuple(map(float, fields["group_logits"])),
        alpha_fusion=float(fields["alpha_fusion"]),
    )
    _check_golden(golden)
    return golden


def _check_golden(golden: Golden) -> None:
    figures = (*golden.individual_logits, *golden.group_logits, golden.alpha_fusion)
    counts = (len(golden.item_ids), len(golden.individual_logits), len(golden.group_logits))
    if len(set(counts)) != 1 or not counts[0] or not all(map(isfinite, figures)):
        raise ValueError(
            f"a golden request of {counts} item ids, individual and group logits: expected as "
            "many of each, at least one, and finite figures"
        )


def _to_text(record: UserRecord | GroupRecord) -> str:
    return base64.b64encode(encode_record(record)).decode()
