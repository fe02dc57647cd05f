"""UIE: centres of like users and like items, kept in memories, add to what is known of a user.

Our implementation of the idea of user interest enhancement (arXiv 2405.13238; its later versions
call it dynamic user interest augmentation) on DIN. Its centres are learned from behaviour inside
the ranker and read softly, several at a time; ChoirRec's groups are made beforehand from what
users are, and each user has one. Details that the paper does not give, or that we could not see:
how centres are learned (the nearest by inner product follows what it is nearest to, by gradient),
when one starts anew (after 200 steps without use, as a row of the batch), their number (256), how
many are read (the 10 nearest), widths, scales and weights. The hierarchy of centres and the host
model of several tasks are left out.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.losses import cross_entropy
from model.network.batch import Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import CodeTable, initialise
from model.network.masked_softmax import masked_softmax
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec

CENTRES = 256
NEAREST = 10
"""Centres read for one user."""
UNUSED_STEPS = 200
"""Training steps without use after which a centre starts anew."""
WIDTH = 64
AUXILIARY_HIDDEN = 128
WEIGHTS = {"auxiliary": 0.1, "clustering": 1.0}


class Memory(nn.Module):
    """Centres of what it is shown; in training they follow it, and unused ones start anew."""

    unused: Tensor

    def __init__(self, width: int, token: int, centres: int = CENTRES) -> None:
        """Make a memory.

        Args:
            width: W of centres and of what is shown.
            token: D, width of a candidate.
            centres: how many.
        """
        super().__init__()
        self.centres = CodeTable(centres, width)
        self.query = nn.Linear(token, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.register_buffer("unused", torch.zeros(centres))

    def similarity(self, shown: Tensor) -> Tensor:
        """Inner products with every centre, float32 ``[..., centres]`` of ``[..., W]``."""
        return F.linear(shown, self.centres.weight)

    def clustering(self, shown_NW: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distance to the nearest centre; only centres learn from it.

        In training, centres unused for long first become rows of what is shown.

        Args:
            shown_NW: float32 ``[N, W]``.

        Returns:
            The mean over rows and columns, a scalar; and the entropy of the centres' use, 1 = all
            alike, NaN when nothing is shown.
        """
        shown = shown_NW.detach()
        if self.training:
            self._renew(shown)
        chosen = self.similarity(shown).argmax(dim=1)
        used = torch.bincount(chosen, minlength=len(self.unused)).to(shown.dtype)
        if self.training:
            self.unused.add_(1.0).masked_fill_(used > 0, 0.0)
        distance = (shown - self.centres(chosen)).square().sum() / max(shown.numel(), 1)
        share = used / used.sum()
        return distance, -torch.xlogy(share, share).sum() / math.log(max(len(used), 2))

    def forward(self, vector_RW: Tensor, candidates_RCD: Tensor) -> Tensor:
        """Enhance a vector by the centres nearest to it, for all candidates and for each.

        Args:
            vector_RW: float32 ``[R, W]``.
            candidates_RCD: float32 ``[R, C, D]``.

        Returns:
            float32 ``[R, C, W]``: the nearest centres weighed by nearness, plus the same weighed
            by each candidate; zero where no centre lies in the vector's direction.
        """
        near, which = self.similarity(vector_RW).topk(min(NEAREST, len(self.unused)), dim=1)
        centres_RKW = self.centres(which)
        positive_RK = near > 0
        scale = math.sqrt(vector_RW.shape[1])
        own = masked_softmax(near / scale, positive_RK).unsqueeze(1)
        match_RCK = self.query(candidates_RCD) @ self.key(centres_RKW).transpose(1, 2)
        by_candidate = masked_softmax(match_RCK / scale, positive_RK.unsqueeze(1))
        read: Tensor = (own + by_candidate) @ centres_RKW
        return read

    @torch.no_grad()
    def _renew(self, shown_NW: Tensor) -> None:
        idle = torch.nonzero(self.unused >= UNUSED_STEPS).squeeze(1)
        if len(idle) and len(shown_NW):
            self.centres.weight[idle] = shown_NW[torch.randint(len(shown_NW), (len(idle),))]
            self.unused[idle] = 0.0


class Uie(ConversionModel):
    """DIN enhanced by centres of users (two views) and of items.

    The views: the user vector of an auxiliary tower; the sum of the purchases; each purchase,
    whose nearest centre joins the history as one step more.
    """

    def __init__(
        self, spec: FeatureSpec, config: NetworkConfig, lookups: Lookups, seed: int
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes.
            lookups: the fields of each item and the rare ids.
            seed: decides every initial value.
        """
        super().__init__()
        sizes = widths(spec, config)
        token = sizes.token
        further = [WIDTH, WIDTH, token]
        self.tables = EmbeddingTables(spec, config, lookups)
        self.individual = IndividualChannel(sizes, config, injected=False, further=further)
        self.user_tower = nn.Sequential(
            nn.Linear(sizes.user, AUXILIARY_HIDDEN), nn.ReLU(), nn.Linear(AUXILIARY_HIDDEN, WIDTH)
        )
        self.item_tower = nn.Linear(token, WIDTH)
        self.bought = nn.Linear(token, WIDTH)
        self.profile = Memory(WIDTH, token)
        self.consumption = Memory(WIDTH, token)
        self.sequence = Memory(token, token)
        initialise(self, seed)

    def forward(self, batch: Batch) -> Output:
        """Score a batch; further losses in training: the auxiliary tower's and the centres'."""
        inputs = self.tables.individual(batch)
        vectors = self.vectors(inputs)
        # Before anything is read: a centre that starts anew must not change under a gradient.
        aux, diagnostics = self._learned(batch, inputs, vectors) if self.training else ({}, {})
        further = [
            memory(vectors[name], inputs["candidates"]) for name, memory in self._memories().items()
        ]
        logit = self.individual(**self.lengthened(inputs), further=further)
        return Output(logit=logit, aux=aux, diagnostics=diagnostics)

    def aux_weights(self, progress: float) -> Mapping[str, float]:
        """Weights of the further losses."""
        return WEIGHTS

    def vectors(self, inputs: Inputs) -> dict[str, Tensor]:
        """What each view looks for centres with, float32 ``[R, width]`` by view."""
        bought = inputs["history"].sum(dim=1)
        steps = inputs["history_mask"].sum(dim=1, keepdim=True).clamp(min=1)
        return {
            "profile": self.user_tower(inputs["user"].detach()),
            # The sum, at the scale of one purchase: a hundred of them would drown everything.
            "consumption": self.bought(bought / steps.sqrt()),
            "sequence": bought / steps,
        }

    def lengthened(self, inputs: Inputs) -> Inputs:
        """The inputs, each purchase followed by its nearest centre as a step of the history."""
        history, mask = inputs["history"], inputs["history_mask"]
        place = torch.nonzero(mask, as_tuple=True)
        near, which = self.sequence.similarity(history[place]).max(dim=1)
        kept = (near > 0).to(mask.dtype)
        centres = self.sequence.centres(which) * kept.unsqueeze(1)
        steps = torch.zeros_like(history).index_put(place, centres)
        steps_mask = torch.zeros_like(mask).index_put(place, kept)
        return {
            **inputs,
            "history": torch.stack([history, steps], dim=2).flatten(1, 2),
            "history_mask": torch.stack([mask, steps_mask], dim=2).flatten(1, 2),
        }

    def _memories(self) -> dict[str, Memory]:
        return {
            "profile": self.profile,
            "consumption": self.consumption,
            "sequence": self.sequence,
        }

    def _learned(
        self, batch: Batch, inputs: Inputs, vectors: Mapping[str, Tensor]
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Further losses, and how evenly each memory's centres are used."""
        shown = {**vectors, "sequence": inputs["history"][inputs["history_mask"] > 0]}
        learned = {
            name: memory.clustering(shown[name]) for name, memory in self._memories().items()
        }
        items = self.item_tower(inputs["candidates"].detach())
        logit = torch.matmul(items, vectors["profile"].unsqueeze(2)).squeeze(2)
        aux = {
            "auxiliary": cross_entropy(logit, batch.label, batch.candidate_mask),
            "clustering": torch.stack([distance for distance, _ in learned.values()]).sum(),
        }
        return aux, {f"use_of_{name}": entropy for name, (_, entropy) in learned.items()}
