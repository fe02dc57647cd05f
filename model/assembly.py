"""Assembly: from records to the id arrays that training and serving both read."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log1p
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model.records import GroupRecord, ItemRecord, Keys, Times, UserRecord
from model.spec import (
    FIRST_CODE,
    OOV,
    DiscreteField,
    FeatureSpec,
    age_buckets,
    user_row,
)

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items a bundle knows: sorted keys, and the codes of each item's fields."""

    keys: Keys
    """uint64 ``[I]``, strictly increasing."""
    codes: NDArray[np.int32]
    """int32 ``[I, fields]``: category levels, then side fields."""

    def rows(self, keys: Keys) -> Ids:
        """Catalogue rows of item keys.

        Args:
            keys: uint64, any shape.

        Returns:
            int64 of the same shape: 2 + position, or OOV for a key outside the catalogue.
        """
        if not len(self.keys):
            return np.full(keys.shape, OOV, dtype=np.int64)
        positions = self.keys.searchsorted(keys)
        found = self.keys.take(positions, mode="clip") == keys
        # FIRST_CODE + position where it is found, else OOV: quicker than a choice.
        rows: Ids = (positions + (FIRST_CODE - OOV)) * found + OOV
        return rows


@dataclass(frozen=True, eq=False)
class UserArrays:
    """The user side of R requests as ids; shapes as in docs/architecture.md."""

    user_row: Ids
    """int64 ``[R]``."""
    attributes: Ids
    """int64 ``[R, F_u]``."""
    continuous: Floats
    """float32 ``[R, 2 F_n]``: standardised values, then missing flags."""
    context: Ids
    """int64 ``[R, F_c]``."""
    history_items: Ids
    """int64 ``[R, L_u]`` catalogue rows, oldest first, padded behind with PAD."""
    history_ages: Ids
    """int64 ``[R, L_u]`` age buckets; PAD where padded."""
    activity: Floats
    """float32 ``[R, 5]``, in the order of ``spec.ACTIVITY_FEATURES``."""
    purchases: Ids
    """int64 ``[R]``: |S_u^buy|, untruncated."""


@dataclass(frozen=True, eq=False)
class GroupArrays:
    """The group priors of R prefixes as ids."""

    codes: Ids
    """int64 ``[R, M]``; levels deeper than the prefix hold k ("no group")."""
    attributes: Ids
    """int64 ``[R, F_u]``."""
    continuous: Floats
    """float32 ``[R, 2 F_n]``."""
    items: Ids
    """int64 ``[R, L_g]`` catalogue rows, padded behind with PAD."""
    ages: Ids
    """int64 ``[R, L_g]`` age buckets at the generation's ``as_of``; PAD where padded."""


def unknown_user(spec: FeatureSpec, as_of_s: int) -> UserRecord:
    """What an unknown user looks like to the model: no attribute, purchase, activity or group."""
    return UserRecord(
        user_id="",
        written_at_s=as_of_s,
        attributes=np.zeros(len(spec.attributes), np.int32),
        continuous=np.full(len(spec.continuous), np.nan, np.float32),
        purchase_items=np.empty(0, np.uint64),
        purchase_times=np.empty(0, np.int64),
        purchases=0,
        window_purchases=0,
        window_clicks=0,
        window_active_days=0,
        group_id=np.full(spec.levels, spec.codes_per_level, np.int32),
        prefix_depth=0,
    )


def user_arrays(
    spec: FeatureSpec,
    catalogue: Catalogue,
    records: Sequence[UserRecord],
    as_of_s: Sequence[int],
    context: Ids,
) -> UserArrays:
    """Assemble the user side of R requests.

    Args:
        spec: the feature spec.
        catalogue: the catalogue of the same bundle.
        records: R user records; ``unknown_user`` stands for a user without one.
        as_of_s: R moments, seconds since the epoch: ages count from here.
        context: int64 ``[R, F_c]`` context codes.

    Returns:
        The id arrays. A record without a user id takes the out-of-vocabulary user row.
    """
    items, ages = _sequences(
        catalogue,
        [record.purchase_items for record in records],
        [record.purchase_times for record in records],
        as_of_s,
        spec.history_len,
    )
    return UserArrays(
        user_row=np.array([_row_of(spec, record) for record in records], np.int64),
        attributes=_stack([record.attributes for record in records]).astype(np.int64),
        continuous=standardise(spec, _stack([record.continuous for record in records])),
        context=context,
        history_items=items,
        history_ages=ages,
        activity=_stack([activity_features(spec, record) for record in records]),
        purchases=np.array([record.purchases for record in records], np.int64),
    )


def group_arrays(
    spec: FeatureSpec,
    catalogue: Catalogue,
    records: Sequence[GroupRecord],
    as_of_s: int,
) -> GroupArrays:
    """Assemble the group side of R prefixes.

    Args:
        spec: the feature spec.
        catalogue: the catalogue of the same bundle.
        records: R group records.
        as_of_s: the generation's moment: ages never count from the request, so that a prefix
            and an item alone decide the group channel's answer.

    Returns:
        The id arrays.
    """
    items, ages = _sequences(
        catalogue,
        [record.items for record in records],
        [record.times for record in records],
        [as_of_s] * len(records),
        spec.group_len,
    )
    return GroupArrays(
        codes=_stack([prefix_codes(spec, record.prefix) for record in records]),
        attributes=_stack([record.attributes for record in records]).astype(np.int64),
        continuous=standardise(spec, _stack([record.continuous for record in records])),
        items=items,
        ages=ages,
    )


def prefix_codes(spec: FeatureSpec, prefix: tuple[int, ...]) -> Ids:
    """int64 ``[M]``: the prefix's codes, then k at every deeper level (docs/groups.md)."""
    codes = np.full(spec.levels, spec.codes_per_level, np.int64)
    codes[: len(prefix)] = prefix
    return codes


def activity_features(spec: FeatureSpec, record: UserRecord) -> Floats:
    """The reliability network's inputs, float32 ``[5]`` (docs/model.md)."""
    fields = len(record.attributes) + len(record.continuous)
    present = np.count_nonzero(record.attributes) + np.count_nonzero(np.isfinite(record.continuous))
    return np.array(
        [
            log1p(record.window_purchases),
            log1p(record.window_clicks),
            log1p(record.window_active_days),
            present / max(fields, 1),
            record.window_purchases <= spec.low_activity_purchases,
        ],
        np.float32,
    )


def standardise(spec: FeatureSpec, values_RF: Floats) -> Floats:
    """Standardise continuous fields and append their missing flags (docs/model.md).

    Args:
        spec: the feature spec.
        values_RF: float32 ``[R, F_n]``, NaN = missing.

    Returns:
        float32 ``[R, 2 F_n]``: values (0 where missing), then flags (1 where missing).
    """
    mean, std = spec.scale
    fields = len(mean)
    joined = np.empty((len(values_RF), 2 * fields), np.float32)
    if fields:
        missing = np.isnan(values_RF)
        scaled = joined[:, :fields]
        np.divide(values_RF - mean, std, out=scaled)
        scaled[missing] = 0
        joined[:, fields:] = missing
    return joined


def misfit(spec: FeatureSpec, record: UserRecord | GroupRecord | ItemRecord) -> str | None:
    """Why a decoded record cannot belong to this spec, or None when shapes and values fit."""
    if isinstance(record, ItemRecord):
        return _codes_misfit("item fields", record.codes, spec.item_fields)
    values = record.continuous.tolist()
    if len(values) != len(spec.continuous) or inf in values or -inf in values:
        return (
            f"continuous fields {record.continuous}, expected {len(spec.continuous)} finite or NaN"
        )
    columns = (
        _user_misfit(spec, record) if isinstance(record, UserRecord) else _group_misfit(record)
    )
    if columns is not None:
        return columns
    codes, sizes = record.attributes.tolist(), spec.attribute_sizes
    if len(codes) == len(sizes) and all(map(_within, codes, sizes)):
        return None
    return _codes_misfit("attributes", record.attributes, spec.attributes)


def _within(code: int, size: int) -> bool:
    return 0 <= code < size


def _user_misfit(spec: FeatureSpec, record: UserRecord) -> str | None:
    if len(record.purchase_items) != len(record.purchase_times):
        return "purchase items and times differ in length"
    codes = record.group_id.tolist()
    within = all(0 <= code <= spec.codes_per_level for code in codes)
    if len(codes) != spec.levels or record.prefix_depth > spec.levels or not within:
        return f"group id {codes}, expected {spec.levels} codes of 0..{spec.codes_per_level}"
    counts = (record.window_purchases, record.window_clicks, record.window_active_days)
    return None if min(counts) >= 0 else f"activity counts {counts}, expected none below 0"


def _group_misfit(record: GroupRecord) -> str | None:
    return None if len(record.items) == len(record.times) else "items and times differ in length"


def _codes_misfit(
    name: str, codes: NDArray[np.int32], fields: Sequence[DiscreteField]
) -> str | None:
    if len(codes) != len(fields):
        return f"{len(codes)} {name}, expected {len(fields)}"
    pairs = zip(codes.tolist(), fields, strict=True)
    outside = [field.name for code, field in pairs if not 0 <= code < field.size]
    return f"{name} {outside} have codes outside their vocabularies" if outside else None


def _row_of(spec: FeatureSpec, record: UserRecord) -> int:
    return user_row(record.user_id, spec.user_rows) if record.user_id else OOV


def _stack(columns: Sequence[NDArray[Number]]) -> NDArray[Number]:
    """Rows below each other; a request has a single one, and needs no copy for it."""
    return columns[0][np.newaxis] if len(columns) == 1 else np.stack(columns)


def _sequences(
    catalogue: Catalogue,
    keys: Sequence[Keys],
    times: Sequence[Times],
    as_of_s: Sequence[int],
    length: int,
) -> tuple[Ids, Ids]:
    """Catalogue rows and age buckets, int64 ``[R, length]``: the last ``length`` of each."""
    items = np.zeros((len(keys), length), np.int64)  # PAD is 0
    ages = np.zeros((len(keys), length), np.int64)
    for row, (item_keys, moments) in enumerate(zip(keys, times, strict=True)):
        kept = min(len(item_keys), length)
        if kept:
            items[row, :kept] = catalogue.rows(item_keys[-kept:])
            ages[row, :kept] = age_buckets(as_of_s[row] - moments[-kept:])
    return items, ages
