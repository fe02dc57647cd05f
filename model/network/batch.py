"""Batches of training rows: id arrays as tensors, gathered from a split's arrays."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.assembly import GroupArrays, UserArrays
from model.spec import OOV, PAD

Rows = NDArray[np.int64]
Arrays = TypeVar("Arrays", UserArrays, GroupArrays, "ClickArrays")

UNKNOWN_ACTIVITY = (0.0, 0.0, 0.0, 0.0, 1.0)
"""Activity features of an unknown user: nothing seen, so low-activity (as in assembly)."""


@dataclass(frozen=True, eq=False)
class ClickArrays:
    """The last clicks of N contexts with what came of them, oldest first, padded at the end."""

    items: Rows
    """int64 ``[N, L]`` catalogue rows, PAD where padded."""
    ages: Rows
    """int64 ``[N, L]`` age buckets, PAD where padded."""
    outcomes: Rows
    """int64 ``[N, L]``: PAD, ``LEFT``, ``BOUGHT`` or ``PENDING``."""


LEFT, BOUGHT, PENDING = 1, 2, 3
"""What came of an earlier click; pending while its attribution window is open."""


@dataclass(frozen=True, eq=False)
class Batch:
    """R contexts with C candidates each, as tensors of ids; shapes as in docs/architecture.md."""

    user_row: Tensor
    """int64 ``[R]``."""
    attributes: Tensor
    """int64 ``[R, F_u]``."""
    continuous: Tensor
    """float32 ``[R, 2 F_n]``: standardised values, then missing flags."""
    context: Tensor
    """int64 ``[R, F_c]``."""
    history_items: Tensor
    """int64 ``[R, L_u]`` catalogue rows, PAD where padded."""
    history_ages: Tensor
    """int64 ``[R, L_u]`` age buckets, PAD where padded."""
    activity: Tensor
    """float32 ``[R, 5]``."""
    purchases: Tensor
    """int64 ``[R]``: |S_u^buy|, untruncated."""
    user_number: Tensor
    """int64 ``[R]``: the user's row in tables of whole users, from 1; 0 = unknown."""
    group_codes: Tensor
    """int64 ``[R, M]`` in 0..k; k = no group."""
    group_attributes: Tensor
    """int64 ``[R, F_u]``."""
    group_continuous: Tensor
    """float32 ``[R, 2 F_n]``."""
    group_items: Tensor
    """int64 ``[R, L_g]``."""
    group_ages: Tensor
    """int64 ``[R, L_g]``."""
    candidates: Tensor
    """int64 ``[R, C]`` catalogue rows."""
    label: Tensor
    """float32 ``[R, C]``."""
    candidate_mask: Tensor | None = None
    """float32 ``[R, C]``, 1 = real; None when every candidate is."""
    group_number: Tensor | None = None
    """int64 ``[R]``: contexts of equal number have one and the same prior; None: not known."""
    click_items: Tensor | None = None
    """int64 ``[R, L_f]``; None where the split holds no clicks, as the next two."""
    click_ages: Tensor | None = None
    """int64 ``[R, L_f]``."""
    click_outcomes: Tensor | None = None
    """int64 ``[R, L_f]``."""

    @classmethod
    def of(
        cls,
        users: UserArrays,
        groups: GroupArrays,
        items_RC: Rows,
        label_RC: NDArray[np.float32],
        user_number: Rows | None = None,
        clicks: ClickArrays | None = None,
        group_number: Rows | None = None,
    ) -> "Batch":
        """Join assembled arrays and candidates.

        Args:
            users: the user side of R contexts.
            groups: the group priors of the same R contexts.
            items_RC: int64 ``[R, C]`` catalogue rows.
            label_RC: float32 ``[R, C]``.
            user_number: int64 ``[R]``; None: all unknown.
            clicks: the last clicks of the same R contexts, for models that read them.
            group_number: int64 ``[R]``: which prior each context has; None: not known.

        Returns:
            The batch, without a candidate mask.
        """
        unknown = np.zeros(len(items_RC), np.int64)
        return cls(
            **_tensors(users, ""),
            **_tensors(groups, "group_"),
            **({} if clicks is None else _click_tensors(clicks)),
            user_number=_tensor(unknown if user_number is None else user_number),
            group_number=None if group_number is None else _tensor(group_number),
            candidates=_tensor(items_RC),
            label=_tensor(label_RC),
        )

    def with_unknown_users(self, unknown_R: NDArray[np.bool_]) -> "Batch":
        """Hide the whole user of some contexts, as serving sees a user it does not know.

        The context of the request and the group prior stay.

        Args:
            unknown_R: bool ``[R]``.

        Returns:
            A batch in which those users have the out-of-vocabulary row, no attribute, no history
            and no activity (docs/architecture.md).
        """
        unknown = torch.from_numpy(unknown_R)
        column = unknown[:, None]
        n_fields = self.continuous.shape[1] // 2
        missing = torch.tensor([0.0] * n_fields + [1.0] * n_fields)
        return replace(
            self,
            user_row=self.user_row.masked_fill(unknown, OOV),
            attributes=self.attributes.masked_fill(column, PAD),
            continuous=torch.where(column, missing, self.continuous),
            history_items=self.history_items.masked_fill(column, PAD),
            history_ages=self.history_ages.masked_fill(column, PAD),
            activity=torch.where(column, torch.tensor(UNKNOWN_ACTIVITY), self.activity),
            purchases=self.purchases.masked_fill(unknown, 0),
            user_number=self.user_number.masked_fill(unknown, 0),
            click_items=_hidden(self.click_items, column),
            click_ages=_hidden(self.click_ages, column),
            click_outcomes=_hidden(self.click_outcomes, column),
        )

    def distinct_groups(self) -> tuple["Batch", Tensor | None]:
        """Each prior once, for what depends on priors alone.

        Returns:
            A batch whose ``group_`` columns hold G <= R distinct priors, and int64 ``[R]``: which
            of them each context has. Where it is not known which are equal, the batch itself and
            None.
        """
        if self.group_number is None:
            return self, None
        numbers, place = torch.unique(self.group_number, return_inverse=True)
        first = torch.full_like(numbers, len(place)).scatter_reduce_(
            0, place, torch.arange(len(place), device=place.device), "amin"
        )
        once = {name: getattr(self, name).index_select(0, first) for name in GROUP_COLUMNS}
        return replace(self, **once), place


GROUP_COLUMNS = tuple(f"group_{column.name}" for column in fields(GroupArrays))
"""Columns of a batch that are its contexts' priors."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitRows:
    """All rows of one period but for groups: each names a context and a candidate."""

    users: UserArrays
    """The user side of N_ctx contexts."""
    row_context: Rows
    """int64 ``[N]``."""
    row_item: Rows
    """int64 ``[N]`` catalogue rows."""
    label: NDArray[np.float32]
    """float32 ``[N]``, 0 or 1."""
    row_user: Rows
    """int64 ``[N]``: dense user numbers, for metrics by user."""
    row_level: NDArray[np.int8]
    """int8 ``[N]``: activity level 1 (lowest) to 5; evaluation only."""
    row_low: NDArray[np.bool_]
    """bool ``[N]``: whether the user counts as low-activity; evaluation only."""
    context_user: Rows
    """int64 ``[N_ctx]``: position of the user in the users table."""
    context_time: Rows
    """int64 ``[N_ctx]``: seconds since the epoch."""
    probability: NDArray[np.float32] | None = None
    """float32 ``[N]``: the true probability of a purchase where it is known; evaluation only."""
    clicks: ClickArrays | None = None
    """The last clicks of each context, where a model asks for them."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.row_context)


@dataclass(frozen=True, eq=False, kw_only=True)
class Split(SplitRows):
    """All rows of one period: each context has a group prior."""

    groups: GroupArrays
    """G distinct group priors."""
    group_index: Rows
    """int64 ``[N_ctx]``: which prior a context has."""

    def batch(self, rows: Rows) -> Batch:
        """Gather rows.

        Args:
            rows: int64 ``[R]`` for one candidate per context (C = 1), or ``[R, C]`` where the
                rows of one line share a context.

        Returns:
            The batch of these rows.
        """
        rows_RC = rows.reshape(len(rows), -1)
        contexts = self.row_context[rows_RC[:, 0]]
        return self._joined(contexts, self.row_item[rows_RC], self.label[rows_RC])

    def _joined(self, contexts: Rows, items_RC: Rows, label_RC: NDArray[np.float32]) -> Batch:
        return Batch.of(
            _take(self.users, contexts),
            _take(self.groups, self.group_index[contexts]),
            items_RC,
            label_RC,
            self.context_user[contexts] + 1,
            None if self.clicks is None else _take(self.clicks, contexts),
            self.group_index[contexts],
        )

    @cached_property
    def sizes(self) -> Rows:
        """int64 ``[N_ctx]``: rows of each context."""
        return np.bincount(self.row_context, minlength=len(self.group_index))

    def context_batch(self, contexts: Rows) -> Batch:
        """Gather whole contexts, so that the candidates of one share its user side.

        Args:
            contexts: int64 ``[R]``, each with one row at least.

        Returns:
            The batch of all their rows, padded to the longest context, with a candidate mask.
        """
        order, starts = self._by_context
        sizes = self.sizes[contexts]
        steps = np.arange(sizes.max())
        real_RC = steps < sizes[:, None]
        rows_RC = order[np.where(real_RC, starts[contexts][:, None] + steps, 0)]
        items_RC = np.where(real_RC, self.row_item[rows_RC], PAD)
        label_RC = np.where(real_RC, self.label[rows_RC], np.float32(0))
        batch = self._joined(contexts, items_RC, label_RC)
        return replace(batch, candidate_mask=_tensor(real_RC.astype(np.float32)))

    @cached_property
    def _by_context(self) -> tuple[Rows, Rows]:
        """Row numbers sorted by context, and where each context's begin."""
        order = np.argsort(self.row_context, kind="stable")
        return order, np.cumsum(self.sizes) - self.sizes

    @cached_property
    def blocks(self) -> list[Rows]:
        """Rows by context: int64 ``[contexts, C]``, one block per number of candidates C."""
        size = self.sizes[self.row_context]
        order = np.lexsort((self.row_context, size))
        edges = np.flatnonzero(np.diff(size[order])) + 1
        return [rows.reshape(-1, size[rows[0]]) for rows in np.split(order, edges) if len(rows)]


def _take(arrays: Arrays, rows: Rows) -> Arrays:
    columns: dict[str, Any] = {f.name: getattr(arrays, f.name)[rows] for f in fields(arrays)}
    return replace(arrays, **columns)


def _tensors(arrays: UserArrays | GroupArrays, prefix: str) -> dict[str, Tensor]:
    return {prefix + f.name: _tensor(getattr(arrays, f.name)) for f in fields(arrays)}


def _click_tensors(clicks: ClickArrays) -> dict[str, Tensor]:
    return {
        "click_items": _tensor(clicks.items),
        "click_ages": _tensor(clicks.ages),
        "click_outcomes": _tensor(clicks.outcomes),
    }


def _hidden(clicks: Tensor | None, unknown_column: Tensor) -> Tensor | None:
    return None if clicks is None else clicks.masked_fill(unknown_column, PAD)


def _tensor(array: NDArray[Any]) -> Tensor:
    dtype = np.float32 if array.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.ascontiguousarray(array, dtype))
