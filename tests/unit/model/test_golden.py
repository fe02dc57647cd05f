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


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        "[3]",
        changed(hour=None),
        changed(group="%%%"),
        changed(group=base64.b64encode(b"nothing").decode()),
        changed(prefix="4"),
        changed(prefix="x"),
        changed(item_ids=3),
        changed(group_logits=[0.0]),
        changed(individual_logits=[0.0, 1.0, None]),
        changed(alpha_fusion="much"),
        changed(alpha_fusion=float("nan")),
        changed(item_ids=[], individual_logits=[], group_logits=[]),
        changed(request_time_s=1.5),
    ],
)
def test_what_is_no_golden_request_is_refused(text: str) -> None:
    """Anything malformed raises one of the documented errors, nothing else."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        golden_from_json(text)
