"""MELT: head users teach what a long history would say, head items what their buyers would say.

Our implementation of the idea of MELT (SIGIR 2023, mutual enhancement of long-tailed users and
items) on DIN, which has no user vector without a candidate: a self-attention layer over the
purchases gives one, and the tower reads it and its product with the candidate. Details the paper
does not give for this task, or where we differ: a purchase stands in its own context without its
id, which is the target; squared errors are means over columns (sums would drown the prediction's
loss) and do not reach their targets; the corrections start at zero, and only their own losses
train them, so that the second stage begins where the first ended; the corrected rows of tail items
are computed ten times over a training; contexts precede training and keep their last 20 purchases,
five of them per item and 64 items per step.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.baselines.item_contexts import Ints, ItemContexts
from model.network.batch import Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import ZeroLinear, initialise
from model.network.readout import TransformerReadout
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec

FIRST_STAGE = 0.3
"""Share of the steps that train base and user vector alone."""
REFRESHES = 10
CONTEXT_STEPS = 20
CONTEXTS = 5
ITEMS_PER_STEP = 64
ITEMS_AT_ONCE = 2048
CONTEXT_SCALE = 50
"""Purchases beyond the threshold over which an item's weight turns from first to last."""
WEIGHTS = {"user_transfer": 0.1, "item_transfer": 0.4}


class UserVector(nn.Module):
    """What a run of purchases says of a user, as of its last one."""

    def __init__(self, token: int) -> None:
        """Make the layer for tokens of width D."""
        super().__init__()
        self.layer = TransformerReadout(token, heads=1, feed_forward=2 * token)
        self.norm = nn.LayerNorm(token)
        self.nothing = nn.Parameter(torch.zeros(token))

    def forward(self, rows_RLD: Tensor, mask_RL: Tensor) -> Tensor:
        """Sum up a sequence.

        Args:
            rows_RLD: float32 ``[R, L, D]``, oldest first.
            mask_RL: float32 ``[R, L]``; 1 = counts, 0 = does not.

        Returns:
            float32 ``[R, D]``; one learned vector where nothing counts.
        """
        last = (mask_RL * torch.arange(1, mask_RL.shape[1] + 1)).argmax(dim=1)
        newest = rows_RLD[torch.arange(len(rows_RLD)), last]
        vector = self.norm(self.layer(newest, rows_RLD, mask_RL))
        return torch.where(mask_RL.any(dim=1, keepdim=True), vector, self.nothing)


class CorrectedTables(EmbeddingTables):
    """The shared tables, tail items' id rows corrected by what their contexts say."""

    correction: Tensor

    def __init__(self, spec: FeatureSpec, config: NetworkConfig, lookups: Lookups) -> None:
        """Make the tables; nothing is corrected yet."""
        super().__init__(spec, config, lookups)
        nothing = torch.zeros(len(lookups.item_id_row), config.item_dim)
        self.register_buffer("correction", nothing)

    def item_tokens(self, rows: Tensor) -> Tensor:
        """Tokens of catalogue rows, float32 ``[n, D]``; the correction is added to the id part."""
        tokens = super().item_tokens(rows)
        correction = self.correction[rows]
        return tokens + F.pad(correction, (0, tokens.shape[1] - correction.shape[1]))


class Melt(ConversionModel):
    """DIN with a user vector, tail users and tail items helped by what head ones taught."""

    item_counts: Tensor
    refreshed: Tensor

    def __init__(
        self,
        spec: FeatureSpec,
        config: NetworkConfig,
        lookups: Lookups,
        contexts: ItemContexts,
        seed: int,
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes.
            lookups: the fields of each item and the rare ids.
            contexts: purchases before training, and who counts as head.
            seed: decides every initial value.
        """
        super().__init__()
        sizes = widths(spec, config)
        self.contexts = contexts
        self.progress = 0.0
        self.tables = CorrectedTables(spec, config, lookups)
        further = [sizes.token, sizes.token]
        self.individual = IndividualChannel(sizes, config, injected=False, further=further)
        self.user_vector = UserVector(sizes.token)
        self.user_transfer = ZeroLinear(sizes.token, sizes.token)
        self.item_transfer = ZeroLinear(sizes.token, config.item_dim)
        self.register_buffer("refreshed", torch.zeros(1))
        counts = torch.from_numpy(contexts.counts)
        self.register_buffer("item_counts", counts, persistent=False)
        initialise(self, seed)

    def at(self, progress: float) -> None:
        """Compute the corrections of tail items anew, where that is due."""
        self.progress = progress
        due = math.floor(progress * REFRESHES)
        if progress > FIRST_STAGE and due > int(self.refreshed):
            self.refreshed.fill_(due)
            self.refresh()

    def aux_weights(self, progress: float) -> Mapping[str, float]:
        """Weights of the transfers' losses, in the second stage."""
        return WEIGHTS if progress >= FIRST_STAGE else {}

    def forward(self, batch: Batch) -> Output:
        """Score a batch; further losses in the second stage of training: the two transfers."""
        inputs = self.tables.individual(batch)
        vector = self.user_vector(inputs["history"], inputs["history_mask"])
        user = self.helped(vector, batch.purchases)
        further = [user, user.unsqueeze(1) * inputs["candidates"]]
        logit = self.individual(**inputs, further=further)
        if not self.training or self.progress < FIRST_STAGE:
            return Output(logit=logit)
        losses = {
            "user_transfer": self.user_loss(vector, inputs, batch.purchases),
            "item_transfer": self.item_loss(batch),
        }
        return Output(logit=logit, aux=losses)

    def helped(self, vector_RD: Tensor, purchases: Tensor) -> Tensor:
        """User vectors as the tower reads them: those of tail users are corrected.

        Args:
            vector_RD: float32 ``[R, D]``.
            purchases: int64 ``[R]``.

        Returns:
            float32 ``[R, D]``.
        """
        layer = self.user_transfer
        correction = F.linear(vector_RD, layer.weight.detach(), layer.bias.detach())
        head = (purchases > self.contexts.user_threshold).unsqueeze(1)
        return torch.where(head, vector_RD, vector_RD + correction)

    def user_loss(self, vector_RD: Tensor, inputs: Inputs, purchases: Tensor) -> Tensor:
        """Error of head users' vectors guessed from a few of their newest purchases, a scalar."""
        contexts = self.contexts
        head = torch.nonzero(purchases > contexts.user_threshold).squeeze(1)
        if not len(head):
            return vector_RD.new_zeros(())
        mask = inputs["history_mask"][head]
        newest = self._newest(mask, contexts.user_threshold)
        guessed = self.user_transfer(self.user_vector(inputs["history"][head], newest))
        error = (vector_RD[head].detach() - guessed).square().mean(dim=1)
        beyond = purchases[head] - contexts.user_threshold - 1
        weight = self._curriculum(beyond, contexts.user_longest - contexts.user_threshold - 1)
        return torch.mean(weight * error)

    def item_loss(self, batch: Batch) -> Tensor:
        """Error of head items' id rows guessed from what their buyers had bought, a scalar."""
        contexts = self.contexts
        rows = torch.unique(batch.candidates)
        rows = rows[self.item_counts[rows] > contexts.item_threshold]
        if not len(rows):
            return batch.label.new_zeros(())
        rows = rows[torch.randperm(len(rows))[:ITEMS_PER_STEP]]
        items: Ints = rows.numpy()
        limits = torch.from_numpy(contexts.available(items)).clamp(
            max=min(CONTEXTS, max(contexts.item_threshold, 1))
        )
        sizes = 1 + (torch.rand(len(rows)) * limits).long().clamp(max=limits - 1)
        share = torch.rand(len(rows), CONTEXTS).numpy()
        guessed = self.guessed_ids(contexts.drawn(items, share, sizes.numpy()))
        target = self.tables.item(self.tables.item_id_row[rows]).detach()
        error = (target - guessed).square().mean(dim=1)
        beyond = self.item_counts[rows] - contexts.item_threshold - 1
        weight = self._curriculum(beyond, CONTEXT_SCALE)
        return torch.mean(weight * error)

    def guessed_ids(self, events: Ints) -> Tensor:
        """Id rows guessed from contexts.

        Args:
            events: int64 ``[n, k]`` contexts of n items, -1 = none; one per item at least.

        Returns:
            float32 ``[n, item_dim]``.
        """
        real = torch.from_numpy(events >= 0)
        rows, ages = self.contexts.prefixes(events[events >= 0], CONTEXT_STEPS)
        vector = self.user_vector(*self._context_rows(torch.from_numpy(rows), ages))
        vector = self.user_transfer(vector) + vector
        place = torch.nonzero(real)[:, 0]
        total = vector.new_zeros(len(events), vector.shape[1]).index_add(0, place, vector)
        guessed: Tensor = self.item_transfer(total / real.sum(dim=1, keepdim=True))
        return guessed

    @torch.no_grad()
    def refresh(self) -> None:
        """Compute the corrections of all tail items that have a context."""
        contexts = self.contexts
        tail = torch.nonzero(self.item_counts <= contexts.item_threshold).squeeze(1)
        tail = tail[torch.from_numpy(contexts.available(tail.numpy()) > 0)]
        for rows in torch.split(tail, ITEMS_AT_ONCE):
            guessed = self.guessed_ids(contexts.latest(rows.numpy(), CONTEXTS))
            self.tables.correction[rows] = guessed

    def _context_rows(self, rows: Tensor, ages: Ints) -> tuple[Tensor, Tensor]:
        """Embedded contexts and their mask; the last step without its id, which is the target."""
        distinct, which = torch.unique(rows, return_inverse=True)
        tokens = F.embedding(which, self.tables.item_tokens(distinct))
        real = (rows > 0).to(tokens.dtype)
        last = real.sum(dim=1, keepdim=True) - 1 == torch.arange(rows.shape[1])
        id_part = torch.arange(tokens.shape[2]) < self.tables.item.embedding_dim
        tokens = tokens.masked_fill(last.unsqueeze(2) & id_part, 0.0)
        return tokens + self.tables.age(torch.from_numpy(ages)), real

    @staticmethod
    def _newest(mask_RL: Tensor, threshold: int) -> Tensor:
        """The mask of the newest steps, each row's number drawn: fewer than a head user has."""
        fewest_of_all = max(2, min(threshold, mask_RL.shape[1]))
        kept = torch.randint(1, fewest_of_all, (len(mask_RL), 1))
        from_newest = mask_RL.flip(1).cumsum(1).flip(1)
        return mask_RL * (from_newest <= kept)

    def _curriculum(self, beyond: Tensor, scale: int) -> Tensor:
        """Weight in [0, 1]: at first the longest count most, at last those just beyond."""
        share = (beyond / max(scale, 1)).clamp(0.0, 1.0)
        return torch.sin(math.pi / 2 * (self.progress + share)).abs()
