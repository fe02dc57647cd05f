"""A small made-up world for tests of the network, training and evaluation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.assembly import Catalogue, GroupArrays, UserArrays
from model.network.batch import UNKNOWN_ACTIVITY, ClickArrays, Split
from model.network.config import NetworkConfig
from model.network.tables import Lookups
from model.spec import (
    AGE_BUCKETS,
    FEATURE_DEFINITIONS,
    FIRST_CODE,
    ContinuousField,
    DiscreteField,
    FeatureSpec,
    context_fields,
)

TINY = NetworkConfig(
    user_dim=6,
    item_dim=6,
    category_dim=4,
    side_dim=3,
    attribute_dim=4,
    context_dim=3,
    group_code_dim=5,
    tower=(16, 12, 8),
    attention=(8, 4),
    injection_hidden=7,
    reliability=(6, 4),
)


@dataclass(frozen=True, eq=False)
class World:
    """A spec, its lookups and rows to learn from."""

    spec: FeatureSpec
    lookups: Lookups
    split: Split


def named(name: str, size: int) -> DiscreteField:
    """A field of ``size`` values."""
    return DiscreteField(name, tuple(f"{name}{value}" for value in range(size)))


def feature_spec(history_len: int = 6, group_len: int = 5, user_rows: int = 40) -> FeatureSpec:
    """A spec with two attributes, one continuous field, two category levels, one side field."""
    return FeatureSpec(
        attributes=(named("age", 4), named("city", 3)),
        continuous=(ContinuousField("income", 0.0, 1.0),),
        context=context_fields(),
        categories=(named("l1", 4), named("leaf", 8)),
        side=(named("tier", 3),),
        user_rows=user_rows,
        min_user_rows=2,
        history_len=history_len,
        group_len=group_len,
        levels=3,
        codes_per_level=4,
        n_min=2,
        activity_window_days=28,
        low_activity_purchases=2,
        level_thresholds=(1, 2, 4, 8),
        clicks_count=True,
        profile_windows_days=(7, 14, 28),
        group_categories=20,
        items_per_category=3,
        definitions=FEATURE_DEFINITIONS,
    )


def world(
    rows: int = 200,
    contexts: int = 60,
    items: int = 30,
    groups: int = 6,
    seed: int = 0,
    spec: FeatureSpec | None = None,
) -> World:
    """Random but learnable rows: a label leans on the candidate's leaf and the group.

    Args:
        rows: N.
        contexts: N_ctx; every fourth has an empty history, missing attributes and no activity.
        items: I.
        groups: G; the first has no code, no item and no attribute.
        seed: decides everything.
        spec: the spec to follow; the default one when None.
    """
    rng = np.random.default_rng(seed)
    spec = spec or feature_spec()
    codes = np.stack([rng.integers(FIRST_CODE, f.size, items) for f in spec.item_fields], axis=1)
    catalogue = Catalogue(np.arange(items, dtype=np.uint64), codes.astype(np.int32))
    users = _users(rng, spec, contexts, items)
    group_index = rng.integers(0, groups, contexts)
    row_context = rng.integers(0, contexts, rows)
    row_item = rng.integers(FIRST_CODE, items + FIRST_CODE, rows)
    lean = (codes[row_item - FIRST_CODE, 1] + group_index[row_context]) % 2
    split = Split(
        users=users,
        groups=_groups(rng, spec, groups, items),
        group_index=group_index,
        row_context=row_context,
        row_item=row_item,
        label=(rng.random(rows) < 0.15 + 0.6 * lean).astype(np.float32),
        row_user=users.user_row[row_context],
        row_level=rng.integers(1, 6, rows).astype(np.int8),
        row_low=rng.random(rows) < 0.5,
        context_user=np.asarray(users.user_row, np.int64) - FIRST_CODE,
        context_time=np.zeros(contexts, np.int64),
        clicks=_clicks(rng, contexts, spec.history_len, items),
    )
    lookups = Lookups.count(spec, catalogue, users.user_row[row_context], row_item)
    return World(spec, lookups, split)


def _clicks(rng: np.random.Generator, contexts: int, steps: int, items: int) -> ClickArrays:
    length = np.where(np.arange(contexts) % 4 == 0, 0, rng.integers(1, steps + 1, contexts))
    clicked, ages = _sequences(rng, length, steps, items)
    outcomes = np.where(clicked > 0, rng.integers(1, 4, clicked.shape), 0)
    return ClickArrays(clicked, ages, outcomes)


def _users(rng: np.random.Generator, spec: FeatureSpec, contexts: int, items: int) -> UserArrays:
    empty = np.arange(contexts) % 4 == 0
    length = np.where(empty, 0, rng.integers(1, spec.history_len + 1, contexts))
    history, ages = _sequences(rng, length, spec.history_len, items)
    return UserArrays(
        user_row=rng.integers(FIRST_CODE, spec.user_rows, contexts),
        attributes=np.where(empty[:, None], 0, _attributes(rng, spec, contexts)),
        continuous=_continuous(rng, spec, empty),
        context=np.stack([rng.integers(0, f.size, contexts) for f in spec.context], axis=1),
        history_items=history,
        history_ages=ages,
        activity=np.where(
            empty[:, None], UNKNOWN_ACTIVITY, rng.random((contexts, len(UNKNOWN_ACTIVITY)))
        ).astype(np.float32),
        purchases=np.where(empty, 0, length + rng.integers(0, 9, contexts)),
    )


def _groups(rng: np.random.Generator, spec: FeatureSpec, groups: int, items: int) -> GroupArrays:
    empty = np.arange(groups) == 0
    length = np.where(empty, 0, rng.integers(1, spec.group_len + 1, groups))
    sequence, ages = _sequences(rng, length, spec.group_len, items)
    codes = rng.integers(0, spec.codes_per_level, (groups, spec.levels))
    return GroupArrays(
        codes=np.where(empty[:, None], spec.codes_per_level, codes),
        attributes=np.where(empty[:, None], 0, _attributes(rng, spec, groups)),
        continuous=_continuous(rng, spec, empty),
        items=sequence,
        ages=ages,
    )


def _attributes(rng: np.random.Generator, spec: FeatureSpec, n: int) -> NDArray[np.int64]:
    return np.stack([rng.integers(0, f.size, n) for f in spec.attributes], axis=1)


def _continuous(
    rng: np.random.Generator, spec: FeatureSpec, missing: NDArray[np.bool_]
) -> NDArray[np.float32]:
    n_fields = len(spec.continuous)
    values = np.where(missing[:, None], 0, rng.normal(size=(len(missing), n_fields)))
    flags = np.repeat(missing[:, None], n_fields, axis=1)
    return np.concatenate([values, flags], axis=1).astype(np.float32)


def _sequences(
    rng: np.random.Generator, length: NDArray[np.int64], cap: int, items: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    real = np.arange(cap) < length[:, None]
    shape = (len(length), cap)
    rows = rng.integers(FIRST_CODE - 1, items + FIRST_CODE, shape)
    return np.where(real, rows, 0), np.where(real, rng.integers(1, AGE_BUCKETS, shape), 0)
