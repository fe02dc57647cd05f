"""SaviorEnc-lite: vectors and codes of items from their text, aligned by co-purchases."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.assembly import Catalogue
from model.encoder import TextEncoder
from model.network.layers import initialise
from model.spec import FIRST_CODE, SECONDS_PER_DAY
from offline.groups import fit_groups
from offline.histories import Histories, Ints, item_keys
from offline.progress import track
from offline.scratch import scratch_folder

Floats = NDArray[np.float32]

HIDDEN, WIDTH = 128, 64
WINDOW_S = 7 * SECONDS_PER_DAY
"""Two purchases of one user within this time are a pair."""
TEMPERATURE = 0.07
STEPS, BATCH = 2000, 512
RATE = 0.001
LEVELS, CODES = 3, 256
ITEMS_PER_CODE = 4
"""Distinct vectors needed for each code: small catalogues have fewer codes."""


@dataclass(frozen=True, eq=False)
class EncodedItems:
    """What SaviorRec knows of items beside their rows."""

    vectors: Floats
    """float32 ``[I + 2, 64]`` by catalogue row: unit vectors, zero without text."""
    codes: Ints
    """int64 ``[I + 2, 3]``: residual codes in 0..k; k without text."""

    def save(self, folder: Path) -> None:
        """Write both arrays into a folder."""
        np.save(folder / "vectors.npy", self.vectors)
        np.save(folder / "codes.npy", self.codes)

    @classmethod
    def load(cls, folder: Path) -> "EncodedItems":
        """Read what ``save`` wrote."""
        return cls(
            vectors=np.load(folder / "vectors.npy", allow_pickle=False),
            codes=np.load(folder / "codes.npy", allow_pickle=False),
        )


@dataclass(frozen=True, eq=False)
class CoPurchases:
    """Purchases of which each has others of the same user in the days after."""

    items: Ints
    """int64 ``[P]`` catalogue rows, user by user, oldest first."""
    ends: Ints
    """int64 ``[P]``: position after the last purchase that makes a pair with this one."""

    @classmethod
    def before(cls, catalogue: Catalogue, histories: Histories, before_s: int) -> "CoPurchases":
        """The purchases strictly before a moment, of items in the catalogue.

        Args:
            catalogue: I items.
            histories: the event logs.
            before_s: where training starts.
        """
        log = histories.purchases
        rows = catalogue.rows(log.keys)
        kept = np.flatnonzero((log.times < before_s) & (rows >= FIRST_CODE))
        users = np.searchsorted(log.offsets, kept, side="right") - 1
        # One increasing number per purchase: users lie further apart than the window.
        times = log.times[kept] - log.times.min(initial=before_s)
        line = users * (int(times.max(initial=0)) + WINDOW_S + 1) + times
        ends = np.searchsorted(line, line + WINDOW_S, side="right")
        return cls(items=rows[kept], ends=ends.astype(np.int64))

    def pairs(self, random: np.random.Generator) -> Ints:
        """Each purchase with one of those that follow it within the window.

        Args:
            random: draws.

        Returns:
            int64 ``[n, 2]`` catalogue rows in an order drawn too; the two of a pair differ.
        """
        first = np.arange(len(self.items))
        following = self.ends - first - 1
        partner = first + 1 + (random.random(len(first)) * following).astype(np.int64)
        first, partner = first[following > 0], partner[following > 0]
        pairs = np.stack([self.items[first], self.items[partner]], axis=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        return random.permutation(pairs)


class ItemEncoder(nn.Module):
    """A small network from a text's vector to an item's unit vector."""

    def __init__(self, width: int, seed: int) -> None:
        """Make the network for text vectors of a width; the seed decides its start."""
        super().__init__()
        self.first = nn.Linear(width, HIDDEN)
        self.out = nn.Linear(HIDDEN, WIDTH)
        initialise(self, seed)

    def forward(self, texts: Tensor) -> Tensor:
        """Encode, float32 ``[n, width]`` to ``[n, 64]``."""
        return F.normalize(self.out(F.relu(self.first(texts))), dim=1)


def encode_items(
    items: pa.Table,
    catalogue: Catalogue,
    histories: Histories,
    before_s: int,
    encoder: TextEncoder,
    seed: int,
) -> EncodedItems:
    """Train the item encoder on pairs bought before a moment, encode all items, quantise.

    Args:
        items: canonical items, of which ``item_id`` and ``text`` are read.
        catalogue: I items.
        histories: the event logs.
        before_s: only purchases strictly before it count: where training starts.
        encoder: encodes the items' texts.
        seed: equal seeds and data give equal bytes on one machine.

    Returns:
        Vectors and codes by catalogue row.
    """
    texts = text_vectors(items, catalogue, encoder)
    co_purchases = CoPurchases.before(catalogue, histories, before_s)
    vectors = trained_vectors(texts, co_purchases, seed)
    return EncodedItems(vectors, residual_codes(vectors, seed))


def text_vectors(items: pa.Table, catalogue: Catalogue, encoder: TextEncoder) -> Floats:
    """float32 ``[I + 2, width]``: the text of each catalogue row; zero for PAD, OOV and no text."""
    distinct, which = np.unique(
        np.array([text or "" for text in items["text"].to_pylist()], object), return_inverse=True
    )
    vectors = np.zeros((len(catalogue.keys) + FIRST_CODE, encoder.width), np.float32)
    encoded = encoder.encode([str(text) for text in distinct])
    vectors[catalogue.rows(item_keys(items["item_id"]))] = encoded[which]
    return vectors


def trained_vectors(texts: Floats, co_purchases: CoPurchases, seed: int) -> Floats:
    """Vectors of items after contrastive training.

    Args:
        texts: float32 ``[I + 2, width]``.
        co_purchases: what to learn from.
        seed: of the start and of all draws.

    Returns:
        float32 ``[I + 2, 64]``: unit vectors, zero where the text's is.
    """
    torch.set_num_threads(1)  # Sums by several threads differ from machine to machine.
    model = ItemEncoder(texts.shape[1], seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    known: NDArray[np.bool_] = texts.any(axis=1).astype(bool)
    steps = islice(_batches(co_purchases, known, seed), STEPS)
    for left, right in track(steps, "item encoder", STEPS):
        optimiser.zero_grad()
        lefts, rights = (model(torch.from_numpy(texts[rows])) for rows in (left, right))
        loss = contrast(lefts, rights, torch.from_numpy(left), torch.from_numpy(right))
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():
        vectors: Floats = model(torch.from_numpy(texts)).numpy()
    return np.where(known[:, None], vectors, np.float32(0))


def _batches(
    co_purchases: CoPurchases, known: NDArray[np.bool_], seed: int
) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of items with text, drawn anew in every pass; none at all when a pass has none."""
    for epoch in count():
        pairs = co_purchases.pairs(np.random.default_rng([seed, epoch]))
        pairs = pairs[known[pairs].all(axis=1)]
        if not len(pairs):
            return
        for start in range(0, len(pairs), BATCH):
            left, right = pairs[start : start + BATCH].T
            yield left, right


def contrast(left: Tensor, right: Tensor, left_rows: Tensor, right_rows: Tensor) -> Tensor:
    """InfoNCE in both directions; other pairs of the batch are the negatives.

    Args:
        left: float32 ``[n, 64]`` unit vectors.
        right: float32 ``[n, 64]``: of what each was bought with.
        left_rows: int64 ``[n]``: which items those of the left are.
        right_rows: int64 ``[n]``.

    Returns:
        A scalar. The items of a pair are no negatives of each other.
    """
    logits = left @ right.t() / TEMPERATURE
    others = ~torch.eye(len(left), dtype=torch.bool)
    target = torch.arange(len(left))
    losses = []
    sides = ((logits, left_rows, right_rows), (logits.t(), right_rows, left_rows))
    for scores, asking, answers in sides:
        same = (answers == answers.unsqueeze(1)) | (answers == asking.unsqueeze(1))
        same &= others
        losses.append(F.cross_entropy(scores.masked_fill(same, -torch.inf), target))
    return torch.stack(losses).mean()


def residual_codes(vectors: Floats, seed: int) -> Ints:
    """Codes of items by residual k-means.

    Args:
        vectors: float32 ``[I + 2, 64]``; zero where nothing is known.
        seed: of the k-means.

    Returns:
        int64 ``[I + 2, 3]`` in 0..k, k where nothing is known; k is at most 256, and 1 at least.
    """
    distinct = len(np.unique(vectors[vectors.any(axis=1)], axis=0))
    if not distinct:
        return np.ones((len(vectors), LEVELS), np.int64)
    codes = int(np.clip(distinct // ITEMS_PER_CODE, 1, CODES))
    with scratch_folder("saviorenc") as checkpoints:
        fitted = fit_groups(vectors, LEVELS, codes, seed, checkpoints)
    return fitted.assign(vectors).astype(np.int64)
