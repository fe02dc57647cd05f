"""The vocabulary: builds the feature spec and the catalogue from canonical tables."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.assembly import Catalogue
from model.spec import (
    FEATURE_DEFINITIONS,
    ContinuousField,
    DiscreteField,
    FeatureSpec,
    context_fields,
)
from offline.histories import item_keys

MIN_VALUE_ITEMS = 3
"""An item field's value on fewer items has no code of its own: too rare to learn."""
MIN_USER_ROWS = 3
"""Training rows below which a user is out of vocabulary (docs/architecture.md)."""
LOW_ACTIVITY_SHARE = 0.55
"""Share of users that the paper calls low-activity."""
MAX_USER_ROWS = 2**22
ACTIVITY_WINDOW_DAYS = 28
TOP_CATEGORIES = 20
"""K of section 4.3.3."""
ITEMS_PER_CATEGORY = 3
"""Most bought items of each top category that a group's sequence may hold."""


@dataclass(frozen=True)
class Sizes:
    """How much of every sequence the model reads, and how fine its groups are."""

    history_len: int
    """Most recent purchases per user (L_u)."""
    group_len: int
    """Items per group sequence (L_g)."""
    levels: int
    """Levels of a group id (M)."""
    codes_per_level: int
    """Codes per level (k)."""
    n_min: int
    """Members a prefix group needs for a prior of its own."""


@dataclass(frozen=True)
class Columns:
    """What the model reads of a data set: columns in order, and what events mean."""

    discrete: tuple[str, ...]
    continuous: tuple[str, ...]
    categories: tuple[str, ...]
    """Coarse to fine."""
    side: tuple[str, ...]
    clicks_count: bool
    """Whether clicks are activity."""
    profile_windows_days: tuple[int, int, int]
    """Ends of the windows that profiles tell of."""


def build_spec(
    users: pa.Table,
    items: pa.Table,
    columns: Columns,
    window_purchases: NDArray[np.int64],
    sizes: Sizes,
) -> FeatureSpec:
    """Build the feature spec of a data set.

    Args:
        users: canonical users.
        items: canonical items.
        columns: the columns read, and what events mean.
        window_purchases: int64 ``[N]``: each user's purchases in the activity window before the
            training snapshot; freezes the low-activity and level thresholds.
        sizes: sequence lengths and group sizes.

    Returns:
        The spec; vocabularies are sorted, so that equal tables give equal specs.
    """
    return FeatureSpec(
        attributes=tuple(_vocabulary(users, name, 1) for name in columns.discrete),
        continuous=tuple(_moments(users, name) for name in columns.continuous),
        context=context_fields(),
        categories=tuple(_vocabulary(items, name, MIN_VALUE_ITEMS) for name in columns.categories),
        side=tuple(_vocabulary(items, name, MIN_VALUE_ITEMS) for name in columns.side),
        user_rows=user_rows(len(users)),
        min_user_rows=MIN_USER_ROWS,
        history_len=sizes.history_len,
        group_len=sizes.group_len,
        levels=sizes.levels,
        codes_per_level=sizes.codes_per_level,
        n_min=sizes.n_min,
        activity_window_days=ACTIVITY_WINDOW_DAYS,
        low_activity_purchases=int(
            np.quantile(window_purchases, LOW_ACTIVITY_SHARE, method="lower")
        ),
        level_thresholds=level_thresholds(window_purchases),
        clicks_count=columns.clicks_count,
        profile_windows_days=columns.profile_windows_days,
        group_categories=TOP_CATEGORIES,
        items_per_category=ITEMS_PER_CATEGORY,
        definitions=FEATURE_DEFINITIONS,
    )


def level_thresholds(window_purchases: NDArray[np.int64]) -> tuple[int, int, int, int]:
    """Most purchases in the window that activity levels 1 to 4 allow: quintiles of the users."""
    first, second, third, fourth = np.quantile(
        window_purchases, [0.2, 0.4, 0.6, 0.8], method="lower"
    ).tolist()
    return int(first), int(second), int(third), int(fourth)


def user_rows(n_users: int) -> int:
    """Rows of the hashed user table: the next power of two from twice the users, bounded."""
    return int(min(max(1024, 2 ** int(np.ceil(np.log2(max(2 * n_users, 2))))), MAX_USER_ROWS))


def build_catalogue(spec: FeatureSpec, items: pa.Table) -> Catalogue:
    """The catalogue of every canonical item, sorted by key.

    Raises:
        ValueError: when two item ids share a 64-bit key.
    """
    keys = item_keys(items["item_id"])
    order = np.argsort(keys)
    if (np.diff(keys[order]) == 0).any():
        raise ValueError("two item ids share a 64-bit key; rename one of them")
    codes = np.array(
        [[field.code(v) for v in items[field.name].to_pylist()] for field in spec.item_fields],
        np.int32,
    ).reshape(len(spec.item_fields), len(keys))
    return Catalogue(keys=keys[order], codes=np.ascontiguousarray(codes.T[order]))


def _vocabulary(table: pa.Table, name: str, minimum: int) -> DiscreteField:
    counts = Counter(value for value in table[name].to_pylist() if value is not None)
    return DiscreteField(name, tuple(sorted(v for v, n in counts.items() if n >= minimum)))


def _moments(users: pa.Table, name: str) -> ContinuousField:
    values = users[name].to_numpy().astype(np.float64)
    seen = values[np.isfinite(values)]
    mean, std = (float(seen.mean()), float(seen.std())) if len(seen) else (0.0, 1.0)
    return ContinuousField(name, mean, std or 1.0)
