"""The feature spec: fields, vocabularies, hashes and sizes that give every code its meaning."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAD = 0
OOV = 1
FIRST_CODE = 2

AGE_BUCKETS = 12
ACTIVITY_FEATURES = ("purchases", "clicks", "active_days", "completeness", "is_low")
MAX_ID_BYTES = 64
SECONDS_PER_DAY = 86_400

RECORD_SCHEMA_VERSION = 1
FEATURE_DEFINITIONS = 1
"""Goes up whenever a feature changes its meaning while every number of the spec stays."""


_BUCKET_ENDS_S = np.array(
    [(2**bucket - 1) * SECONDS_PER_DAY for bucket in range(1, AGE_BUCKETS - 1)], np.int64
)
"""Ages at which a bucket ends and the next one begins."""


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def user_row(user_id: str, n_rows: int) -> int:
    """Row of a user in a table of ``n_rows`` rows, never PAD or OOV.

    Args:
        user_id: the user's id.
        n_rows: rows of the table, PAD and OOV included; at least 3.

    Returns:
        A row in ``[2, n_rows)``. Distinct users may share a row.
    """
    return FIRST_CODE + _hash64(user_id) % (n_rows - FIRST_CODE)


def item_key(item_id: str) -> int:
    """The 64-bit key by which records and the catalogue name an item (unsigned)."""
    return _hash64(item_id)


def age_buckets(ages_s: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket ages on a log2 scale of days (docs/model.md).

    Args:
        ages_s: ages in seconds, any shape; negative ages count as 0.

    Returns:
        int64 of the same shape in ``[1, AGE_BUCKETS)``; 0 stays free for padding.
    """
    return _BUCKET_ENDS_S.searchsorted(ages_s, side="right") + 1


@dataclass(frozen=True)
class DiscreteField:
    """A field of named values; code 0 = missing, 1 = unseen value, then the values in order."""

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> int:
        """Rows of the field's embedding table, PAD and OOV included."""
        return len(self.values) + FIRST_CODE

    @cached_property
    def _codes(self) -> Mapping[str, int]:
        return {value: FIRST_CODE + position for position, value in enumerate(self.values)}

    def code(self, value: str | None) -> int:
        """Code of a value: 0 for None, 1 for a value outside the vocabulary."""
        return PAD if value is None else self._codes.get(value, OOV)


@dataclass(frozen=True)
class ContinuousField:
    """A continuous field with the mean and standard deviation seen in training."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class FeatureSpec:
    """All that turns raw values into codes and back; part of every bundle.

    ``attributes``/``continuous`` describe users, ``categories`` (coarse to fine) and ``side``
    describe items, ``context`` the request. Sequence lengths are caps, oldest to newest.
    """

    attributes: tuple[DiscreteField, ...]
    continuous: tuple[ContinuousField, ...]
    context: tuple[DiscreteField, ...]
    categories: tuple[DiscreteField, ...]
    side: tuple[DiscreteField, ...]
    user_rows: int
    """Rows of the hashed user table."""
    min_user_rows: int
    """A user-table row with fewer training rows than this maps to OOV (docs/architecture.md)."""
    history_len: int
    """Most recent purchases kept per user (L_u)."""
    group_len: int
    """Items kept per group sequence (L_g)."""
    levels: int
    """Levels of a group id (M)."""
    codes_per_level: int
    """Codes per level (k); code k itself means "no group"."""
    n_min: int
    """Members a prefix group needs for a prior of its own (docs/groups.md)."""
    activity_window_days: int
    """Days over which activity is counted."""
    low_activity_purchases: int
    """A user with at most this many purchases in the window is low-activity as of that moment."""
    level_thresholds: tuple[int, int, int, int]
    """Window purchases above which a user leaves activity level 1, 2, 3, 4."""
    clicks_count: bool
    """Whether clicks are activity; False where they were sampled."""
    profile_windows_days: tuple[int, int, int]
    """Ends of the recent, medium and long window that profiles tell of, in days."""
    group_categories: int
    """Categories whose items make a group's sequence (K of section 4.3.3)."""
    items_per_category: int
    """Items that each of them gives."""
    definitions: int
    """``FEATURE_DEFINITIONS`` of the code that made the features."""

    @property
    def item_fields(self) -> tuple[DiscreteField, ...]:
        """Category levels, then side fields: the columns of the catalogue's codes."""
        return self.categories + self.side

    @cached_property
    def scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Means and standard deviations of the continuous fields, float32 ``[F_n]`` each."""
        means = [field.mean for field in self.continuous]
        stds = [field.std for field in self.continuous]
        return np.array(means, np.float32), np.array(stds, np.float32)

    @cached_property
    def attribute_sizes(self) -> tuple[int, ...]:
        """Codes that each attribute has."""
        return tuple(field.size for field in self.attributes)

    def activity_level(self, window_purchases: int) -> int:
        """Activity level 1 (lowest) to 5 of a user with that many purchases in the window."""
        return 1 + bisect_left(self.level_thresholds, window_purchases)

    def to_json(self) -> str:
        """Canonical JSON; equal specs give equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "FeatureSpec":
        """Read what ``to_json`` wrote.

        Raises:
            TypeError, KeyError, ValueError: when the text is not such a spec.
        """
        fields: dict[str, Any] = json.loads(text)
        for name in ("attributes", "context", "categories", "side"):
            fields[name] = tuple(_discrete(field) for field in fields[name])
        fields["continuous"] = tuple(ContinuousField(**field) for field in fields["continuous"])
        for name in ("level_thresholds", "profile_windows_days"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return sha256_text(self.to_json())


def _discrete(field: Mapping[str, Any]) -> DiscreteField:
    return DiscreteField(name=field["name"], values=tuple(field["values"]))


def sha256_text(text: str) -> str:
    """Hex SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def feature_contract(schema: str, encoder: str, codebooks: str, spec: str) -> str:
    """The feature contract that a bundle and a generation must share (docs/architecture.md).

    Args:
        schema: digest of the record schema.
        encoder: digest of the encoder block.
        codebooks: digest of the codebooks.
        spec: digest of the feature spec.

    Returns:
        Hex SHA-256 that differs whenever any of the four differs.
    """
    return sha256_text(json.dumps([schema, encoder, codebooks, spec]))


def hour_and_weekday(times_s: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Context codes of moments in UTC.

    Args:
        times_s: int64 seconds since the epoch, length R.

    Returns:
        int64 ``[R, 2]``: codes of the hour (0..23) and of the weekday (Monday = 0).
    """
    times = np.asarray(times_s, dtype=np.int64)
    hour = times // 3600 % 24
    weekday = (times // SECONDS_PER_DAY + 3) % 7
    return np.stack([hour, weekday], axis=1) + FIRST_CODE


def context_fields() -> tuple[DiscreteField, ...]:
    """The context of a request: hour of day and weekday."""
    return (
        DiscreteField("hour", tuple(str(hour) for hour in range(24))),
        DiscreteField("weekday", tuple(str(day) for day in range(7))),
    )
