"""Golden requests and the prior snapshot survive their JSON."""

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.golden import (
    Golden,
    PriorSnapshot,
    golden_from_json,
    golden_to_json,
    snapshot_from_json,
    snapshot_to_json,
)
from model.records import encode_record
from tests.records import WRITTEN_AT_S, group_record, user_record

GOLDEN = Golden(
    user=user_record(3),
    group=group_record((3,)),
    group_as_of_s=WRITTEN_AT_S,
    request_time_s=WRITTEN_AT_S + 60,
    hour=23,
    weekday=6,
    item_ids=("i1", "é", "no such item"),
    individual_logits=(0.1, -0.2, float(np.float32(1 / 3))),
    group_logits=(0.0, 1e-30, 7.25),
    alpha_fusion=0.5,
)
SNAPSHOT = PriorSnapshot("g1", WRITTEN_AT_S, {p: group_record(p) for p in ((), (1,), (2,))})


def same(one: Golden, other: Golden) -> bool:
    """Whether two golden requests say the same, records by their bytes."""
    plain = [f for f in Golden.__dataclass_fields__ if f not in ("user", "group")]
    records = [
        [encode_record(r) for r in (golden.user, golden.group) if r] for golden in (one, other)
    ]
    return records[0] == records[1] and all(getattr(one, f) == getattr(other, f) for f in plain)


def test_golden_requests_are_read_back_exactly() -> None:
    """Records, ids and every bit of the logits survive; an unknown user stays unknown."""
    goldens = (GOLDEN, replace(GOLDEN, user=None))
    again = golden_from_json(golden_to_json(goldens))
    assert all(same(one, other) for one, other in zip(goldens, again, strict=True))
    assert again[1].user is None


def test_snapshots_are_read_back_exactly() -> None:
    """Every prior of the snapshot survives, the global one included."""
    again = snapshot_from_json(snapshot_to_json(SNAPSHOT))
    assert (again.generation, again.as_of_s) == ("g1", WRITTEN_AT_S)
    assert set(again.records) == {(), (1,), (2,)}
    for prefix, record in again.records.items():
        assert encode_record(record) == encode_record(SNAPSHOT.records[prefix])


def test_a_snapshot_without_a_global_prior_is_refused() -> None:
    """The day Redis is gone everybody needs the global prior."""
    snapshot = replace(SNAPSHOT, records={(1,): group_record((1,))})
    with pytest.raises(ValueError, match="no global prior"):
        snapshot_from_json(snapshot_to_json(snapshot))


def changed(**fields: Any) -> str:
    """Golden JSON with some fields replaced; None removes one."""
    (golden,) = json.loads(golden_to_json([GOLDEN]))
    golden.update(fields)
    return json.dumps([{name: value for name, value in golden.items() if value is not None}])


NOT_GOLDEN: list[tuple[str, str]] = [
    ("{", "Expecting"),
    ("3", "3, expected a list"),
    ("[3]", "request 0: 3, expected an object"),
    (changed(hour=None), "request 0: hour is missing"),
    (changed(hour=77), "request 0: hour 77, expected a whole number of 0 to 23"),
    (changed(hour=True), "hour True"),
    (changed(weekday=7), "weekday 7, expected a whole number of 0 to 6"),
    (changed(group="%%%"), "request 0: record of"),
    (changed(group=base64.b64encode(b"nothing").decode()), "request 0: record of"),
    (changed(group=3), "group 3, expected a text"),
    (changed(user=3), "user 3, expected a text"),
    (changed(user_id=7), "user_id 7, expected a text"),
    (changed(prefix="4"), "request 0: record of"),
    (changed(prefix="x"), "request 0: "),
    (changed(prefix=[3]), r"prefix \[3\], expected a text"),
    (changed(item_ids=3), "item_ids 3, expected a list"),
    (changed(item_ids=["a", 7, "b"]), r"request 0: item_ids\[1\] 7, expected a text of 1 to 64"),
    (changed(item_ids=["a", "b", ""]), r"item_ids\[2\] '', expected a text of 1 to 64 bytes"),
    (changed(group_logits=[0.0]), "as many of each"),
    (changed(group_logits="0.0"), "group_logits '0.0', expected a list"),
    (changed(individual_logits=[0.0, 1.0, None]), r"individual_logits\[2\] None, expected a fin"),
    (changed(individual_logits=[0.0, 1.0, "2"]), r"individual_logits\[2\] '2', expected a fin"),
    (changed(alpha_fusion="much"), "alpha_fusion 'much', expected a finite number"),
    (changed(alpha_fusion=10**400), "alpha_fusion 10+, expected a finite number"),
    (changed(alpha_fusion=float("nan")), "alpha_fusion nan, expected a finite number"),
    (changed(item_ids=[], individual_logits=[], group_logits=[]), "at least one"),
    (changed(request_time_s=1.5), "request_time_s 1.5, expected a whole number"),
    (changed(group_as_of_s=10**30), "group_as_of_s 10+, expected a whole number"),
]


@pytest.mark.parametrize(("text", "reason"), NOT_GOLDEN)
def test_what_is_no_golden_request_is_refused(text: str, reason: str) -> None:
    """Anything malformed is told with its request, its field and its value."""
    with pytest.raises(ValueError, match=reason):
        golden_from_json(text)


def changed_snapshot(**fields: Any) -> str:
    """Snapshot JSON with some fields replaced; None removes one."""
    snapshot = json.loads(snapshot_to_json(SNAPSHOT)) | fields
    return json.dumps({name: value for name, value in snapshot.items() if value is not None})


NO_SNAPSHOT: list[tuple[str, str]] = [
    ("[]", r"\[\], expected an object"),
    (changed_snapshot(as_of_s="x"), "as_of_s 'x', expected a whole number of 0 to"),
    (changed_snapshot(as_of_s=1.5), "as_of_s 1.5"),
    (changed_snapshot(as_of_s=True), "as_of_s True"),
    (changed_snapshot(as_of_s=10**30), "as_of_s 10+"),
    (changed_snapshot(as_of_s=None), "as_of_s is missing"),
    (changed_snapshot(generation=7), "generation 7, expected a text"),
    (changed_snapshot(generation=""), "generation '', expected a text"),
    (changed_snapshot(records=[]), r"records \[\], expected an object"),
    (changed_snapshot(records={"": 3}), " 3, expected a text"),
    (changed_snapshot(records={"": "AAAA"}), "record of ''"),
]


@pytest.mark.parametrize(("text", "reason"), NO_SNAPSHOT)
def test_what_is_no_snapshot_is_refused(text: str, reason: str) -> None:
    """Nobody learns of a malformed snapshot only on the day that Redis is gone."""
    with pytest.raises(ValueError, match=reason):
        snapshot_from_json(text)
