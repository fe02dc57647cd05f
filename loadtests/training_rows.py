"""Rows to measure training on: random, of the sizes of docs/model.md, every sequence full."""

import numpy as np
from numpy.typing import NDArray

from model.assembly import Catalogue, GroupArrays, UserArrays
from model.network.batch import Split
from model.network.tables import Lookups
from model.spec import (
    ACTIVITY_FEATURES,
    AGE_BUCKETS,
    FEATURE_DEFINITIONS,
    FIRST_CODE,
    DiscreteField,
    FeatureSpec,
    context_fields,
)

USERS, ITEMS, GROUPS = 30_000, 10_000, 216
STEPS = 50
CATEGORIES = {"l1": 20, "leaf": 320}
ATTRIBUTES = {"age": 6, "gender": 2, "city": 4, "occupation": 8, "household": 5}


def field(name: str, size: int) -> DiscreteField:
    """A field of ``size`` values."""
    return DiscreteField(name, tuple(str(value) for value in range(size)))


def feature_spec() -> FeatureSpec:
    """The fields of docs/model.md's sizes: a token of 64, a user of 144."""
    return FeatureSpec(
        attributes=tuple(field(*pair) for pair in ATTRIBUTES.items()),
        continuous=(),
        context=context_fields(),
        categories=tuple(field(*pair) for pair in CATEGORIES.items()),
        side=(),
        user_rows=USERS,
        min_user_rows=3,
        history_len=STEPS,
        group_len=STEPS,
        levels=3,
        codes_per_level=6,
        n_min=50,
        activity_window_days=28,
        low_activity_purchases=2,
        level_thresholds=(1, 2, 4, 8),
        clicks_count=True,
        profile_windows_days=(7, 30, 365),
        group_categories=20,
        items_per_category=3,
        definitions=FEATURE_DEFINITIONS,
    )


def rows(contexts: int, candidates: int, seed: int) -> tuple[Lookups, Split]:
    """Random rows of fixed lengths: every sequence has all its steps."""
    rng = np.random.default_rng(seed)
    spec = feature_spec()
    codes = np.stack([rng.integers(FIRST_CODE, f.size, ITEMS) for f in spec.item_fields], axis=1)
    users = UserArrays(
        user_row=rng.integers(FIRST_CODE, USERS, contexts),
        attributes=_codes(rng, spec.attributes, contexts),
        continuous=np.zeros((contexts, 0), np.float32),
        context=_codes(rng, spec.context, contexts),
        history_items=_items(rng, (contexts, STEPS)),
        history_ages=rng.integers(1, AGE_BUCKETS, (contexts, STEPS)),
        activity=rng.random((contexts, len(ACTIVITY_FEATURES)), dtype=np.float32),
        purchases=rng.integers(0, 99, contexts),
    )
    groups = GroupArrays(
        codes=rng.integers(0, spec.codes_per_level, (GROUPS, spec.levels)),
        attributes=_codes(rng, spec.attributes, GROUPS),
        continuous=np.zeros((GROUPS, 0), np.float32),
        items=_items(rng, (GROUPS, STEPS)),
        ages=rng.integers(1, AGE_BUCKETS, (GROUPS, STEPS)),
    )
    row_context = np.repeat(np.arange(contexts), candidates)
    split = Split(
        users=users,
        groups=groups,
        group_index=rng.integers(0, GROUPS, contexts),
        row_context=row_context,
        row_item=_items(rng, (len(row_context),)),
        label=(rng.random(len(row_context)) < 0.05).astype(np.float32),
        row_user=users.user_row[row_context],
        row_level=np.ones(len(row_context), np.int8),
        row_low=np.ones(len(row_context), bool),
        context_user=users.user_row - FIRST_CODE,
        context_time=np.zeros(contexts, np.int64),
    )
    catalogue = Catalogue(np.arange(ITEMS, dtype=np.uint64), codes.astype(np.int32))
    everything = np.concatenate([split.row_item, users.history_items.ravel()])
    lookups = Lookups.count(spec, catalogue, users.user_row[row_context], everything)
    return lookups, split


def _codes(
    rng: np.random.Generator, fields: tuple[DiscreteField, ...], n: int
) -> NDArray[np.int64]:
    return np.stack([rng.integers(FIRST_CODE, f.size, n) for f in fields], axis=1)


def _items(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Catalogue rows whose popularity falls with their rank."""
    weight = (np.arange(ITEMS) + 3.0) ** -0.9
    return rng.choice(ITEMS, shape, p=weight / weight.sum()) + FIRST_CODE
