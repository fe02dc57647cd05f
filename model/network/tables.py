"""Embedding tables of every model: from a batch's ids to the rows that the graphs take."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.assembly import Catalogue
from model.network.batch import Batch
from model.network.config import NetworkConfig, widths
from model.network.layers import FIELD_STD, ID_STD, Table
from model.spec import AGE_BUCKETS, FIRST_CODE, OOV, PAD, DiscreteField, FeatureSpec

MIN_ITEM_ROWS = 3

Ids = NDArray[np.int64]
Inputs = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Lookups:
    """Where ids lead: the fields of each item, and the ids too rare for a row of their own."""

    item_codes: Ids
    """int64 ``[I + 2, fields]``: codes of category levels and side fields; 0 for PAD and OOV."""
    item_id_row: Ids
    """int64 ``[I + 2]``: an item's row of the id table; OOV for an item too rare in training."""
    user_id_row: Ids
    """int64 ``[user_rows]``: the same for users."""

    @classmethod
    def count(
        cls, spec: FeatureSpec, catalogue: Catalogue, user_rows: Ids, item_rows: Ids
    ) -> "Lookups":
        """Find the rare ids by counting occurrences in training.

        Args:
            spec: the feature spec.
            catalogue: I items.
            user_rows: int64, any shape: the user row of every training row.
            item_rows: int64, any shape: the catalogue row of every occurrence of an item, as a
                candidate or in a history.

        Returns:
            The lookups: ids with fewer than ``min_user_rows`` (users) or ``MIN_ITEM_ROWS``
            (items) occurrences lead to OOV. The fields of an unknown item count as missing:
            their own out-of-vocabulary rows never occur in training.
        """
        items = len(catalogue.keys) + FIRST_CODE
        codes = np.zeros((items, len(spec.item_fields)), np.int64)
        codes[FIRST_CODE:] = catalogue.codes
        return cls(
            item_codes=codes,
            item_id_row=_frequent(item_rows, items, MIN_ITEM_ROWS),
            user_id_row=_frequent(user_rows, spec.user_rows, spec.min_user_rows),
        )


def _frequent(rows: Ids, size: int, minimum: int) -> Ids:
    kept = np.bincount(rows.ravel(), minlength=size) >= minimum
    kept[PAD] = True
    return np.where(kept, np.arange(size), OOV)


class EmbeddingTables(nn.Module):
    """The tables that all models share; item tokens are [id row; category rows; side rows]."""

    item_codes: Tensor
    item_id_row: Tensor
    user_id_row: Tensor

    def __init__(self, spec: FeatureSpec, config: NetworkConfig, lookups: Lookups) -> None:
        """Make the tables.

        Args:
            spec: fields and vocabularies.
            config: widths.
            lookups: the fields of each item and the rare ids.
        """
        super().__init__()
        for name in ("item_codes", "item_id_row", "user_id_row"):
            self.register_buffer(name, torch.from_numpy(getattr(lookups, name)), persistent=False)
        self.user = Table(len(lookups.user_id_row), config.user_dim, ID_STD, sparse=True)
        self.item = Table(len(lookups.item_id_row), config.item_dim, ID_STD, sparse=True)
        self.categories = _tables(spec.categories, config.category_dim)
        self.side = _tables(spec.side, config.side_dim)
        self.attributes = _tables(spec.attributes, config.attribute_dim)
        self.context = _tables(spec.context, config.context_dim)
        self.age = Table(AGE_BUCKETS, widths(spec, config).token, FIELD_STD)

    def item_tokens(self, rows: Tensor) -> Tensor:
        """Tokens of catalogue rows.

        Args:
            rows: int64 ``[n]``.

        Returns:
            float32 ``[n, D]``; zero for PAD.
        """
        codes = self.item_codes[rows]
        fields = [*self.categories, *self.side]
        parts = [table(codes[:, n]) for n, table in enumerate(fields)]
        return torch.cat([self.item(self.item_id_row[rows]), *parts], dim=-1)

    def individual(self, batch: Batch) -> Inputs:
        """Inputs of the individual channel; names and shapes as in docs/architecture.md."""
        candidates, history = self._tokens(batch.candidates, batch.history_items)
        return self._individual(batch, candidates, history)

    def both(self, batch: Batch) -> Inputs:
        """Inputs of both channels but ``group_codes``; candidates are shared by the channels."""
        candidates, history, sequence = self._tokens(
            batch.candidates, batch.history_items, batch.group_items
        )
        return {
            **self._individual(batch, candidates, history),
            "group_attributes": self._attributes(batch.group_attributes, batch.group_continuous),
            "group_sequence": sequence + self.age(batch.group_ages),
            "group_mask": _mask(batch.group_items),
        }

    def init_item_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Start the item id rows from given vectors, such as a factorisation of older purchases.

        Args:
            vectors: float32 ``[I + 2, item_dim]``; row PAD is ignored.

        Raises:
            ValueError: when the shape is another.
        """
        expected = tuple(self.item.weight.shape)
        if vectors.shape != expected:
            raise ValueError(
                f"item vectors of shape {vectors.shape}, expected {expected}: one per catalogue "
                "row, PAD and OOV included"
            )
        with torch.no_grad():
            self.item.weight[FIRST_CODE - 1 :] = torch.from_numpy(vectors[FIRST_CODE - 1 :])

    def _individual(self, batch: Batch, candidates: Tensor, history: Tensor) -> Inputs:
        context = [table(batch.context[:, n]) for n, table in enumerate(self.context)]
        user = self.user(self.user_id_row[batch.user_row])
        attributes = self._attributes(batch.attributes, batch.continuous)
        return {
            "user": torch.cat([user, attributes, *context], dim=-1),
            "history": history + self.age(batch.history_ages),
            "history_mask": _mask(batch.history_items),
            "candidates": candidates,
        }

    def _attributes(self, codes: Tensor, continuous: Tensor) -> Tensor:
        rows = [table(codes[:, n]) for n, table in enumerate(self.attributes)]
        return torch.cat([*rows, continuous], dim=-1)

    def _tokens(self, *items: Tensor) -> list[Tensor]:
        # Each distinct item is looked up once: the sparse gradient then names a row once.
        rows, inverse = _distinct(torch.cat([part.flatten() for part in items]), self.item_id_row)
        tokens = self.item_tokens(rows)
        pieces = torch.split(inverse, [part.numel() for part in items])
        return [
            tokens.index_select(0, piece).view(*part.shape, -1)
            for piece, part in zip(pieces, items, strict=True)
        ]


def _distinct(rows: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of a table in order, and where each given row stands among them.

    By marking the table instead of sorting the rows: five times quicker at a batch's sizes.
    """
    marked = torch.zeros(len(table), dtype=torch.int64, device=rows.device)
    marked.index_fill_(0, rows, 1)
    return marked.nonzero().squeeze(1), (marked.cumsum(0) - 1).index_select(0, rows)


def _tables(fields: tuple[DiscreteField, ...], width: int) -> nn.ModuleList:
    return nn.ModuleList(Table(field.size, width, FIELD_STD) for field in fields)


def _mask(items: Tensor) -> Tensor:
    return (items != PAD).to(torch.float32)
