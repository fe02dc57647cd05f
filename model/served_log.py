"""The served log: what a row of it holds, so that the service writes and offline reads the same."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal

SERVED = "served"
"""The folder of answered requests inside the log's folder."""
OUTCOMES = "outcomes"
"""The folder of what became of them."""
SUFFIX = ".parquet"

Outcome = Literal["click", "order"]

ColumnType = Literal["text", "texts", "bytes", "list of bytes", "whole", "number", "floats", "flag"]

SERVED_COLUMNS: Mapping[str, ColumnType] = {
    "request_id": "text",
    "served_s": "number",
    "user_id": "text",
    "user_hashed": "flag",
    "user_row": "whole",
    "role": "text",
    "share": "number",
    "propensity": "number",
    "experiment": "text",
    "version": "whole",
    "generation": "text",
    "bundle_digest": "text",
    "user_status": "text",
    "activity_level": "whole",
    "low_activity": "flag",
    "prefix": "text",
    "degraded": "texts",
    "alpha_fusion": "number",
    "item_ids": "texts",
    "individual_logits": "floats",
    "group_logits": "floats",
    "fused_logits": "floats",
    "scores": "floats",
    "time_s": "whole",
    "hour": "whole",
    "weekday": "whole",
    "user_record": "bytes",
    "group_record": "bytes",
    "group_as_of_s": "whole",
    "new_item_ids": "texts",
    "new_item_records": "list of bytes",
    "chunk": "whole",
    "provider": "text",
    "build": "text",
}
"""One row per answered request; what each column means stands in docs/feedback.md."""

OUTCOME_COLUMNS: Mapping[str, ColumnType] = {
    "request_id": "text",
    "item_id": "text",
    "outcome": "text",
    "time_s": "number",
    "value": "number",
    "received_s": "number",
}
"""One row per outcome that somebody told; the same one may have been told several times."""

COLUMNS: Mapping[str, Mapping[str, ColumnType]] = {
    SERVED: SERVED_COLUMNS,
    OUTCOMES: OUTCOME_COLUMNS,
}
_HASHES = 2**64


def is_sampled(request_id: str, sample: float) -> bool:
    """Whether a request and its outcomes are logged; the same on every worker of every replica.

    Args:
        request_id: as in the answer.
        sample: of requests, 0 to 1; a growing one only adds requests.
    """
    digest = blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < sample * _HASHES


def pseudonym(user_id: str, key: bytes) -> str:
    """What stands for a user who must not be named: a keyed hash, 32 hexadecimal digits.

    Args:
        user_id: of any length.
        key: the secret; the same one on every replica, so that a user stays one user.
    """
    return blake2b(user_id.encode(), digest_size=16, key=blake2b(key).digest()).hexdigest()
