"""SaviorRec: items have a second, frozen face made of their text, aligned to behaviour.

Our implementation of the idea of SaviorRec (arXiv 2508.01375) on DIN. Details the paper does not
give, or where we differ: the encoder is a small one over text alone and the quantiser is residual
k-means (``offline/saviorenc.py``); widths; attention between the faces is a scaled dot product with
projected queries and keys; the branch of behaviour alone is DIN's attention unit, as in every model
here, and the tower reads products of candidate and pooled sequence for both faces. The alignment's
codes start at zero as in the paper; between its two layers stands GELU, because ReLU has no slope
at zero and would keep them there for ever.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.batch import Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import ZeroTable, initialise
from model.network.masked_softmax import masked_softmax
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec

CODE_DIM = 32
"""Width of one level's code row."""


class ModalItems(nn.Module):
    """The modal face of items: frozen vectors plus a patch that behaviour trains."""

    vectors: Tensor
    codes: Tensor

    def __init__(self, vectors: NDArray[np.float32], codes: NDArray[np.int64]) -> None:
        """Make the layer.

        Args:
            vectors: float32 ``[I + 2, W]`` by catalogue row; zero where nothing is known.
            codes: int64 ``[I + 2, M]`` in 0..k; k where nothing is known.

        Raises:
            ValueError: when the two do not agree in items, or hold what they should not.
        """
        super().__init__()
        _check(vectors, codes)
        # Not of the parameters saved: they are the encoder's and never change here.
        self.register_buffer("vectors", torch.from_numpy(vectors), persistent=False)
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)
        width, levels = vectors.shape[1], codes.shape[1]
        self.levels = nn.ModuleList(
            ZeroTable(int(codes[:, level].max()) + 1, CODE_DIM) for level in range(levels)
        )
        # Without biases, so that the patch is zero as long as the codes' rows are.
        self.fusion = nn.Sequential(
            nn.Linear(levels * CODE_DIM, width, bias=False),
            nn.GELU(),
            nn.Linear(width, width, bias=False),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Modal vectors of items.

        Args:
            rows: int64, any shape: catalogue rows.

        Returns:
            float32 of that shape and a last axis W.
        """
        distinct, which = torch.unique(rows, return_inverse=True)
        codes = self.codes[distinct]
        aligned = [table(codes[:, level]) for level, table in enumerate(self.levels)]
        patched = self.vectors[distinct] + self.fusion(torch.cat(aligned, dim=1))
        return F.embedding(which, patched)


class CrossAttention(nn.Module):
    """Scaled dot product attention: one face of items asks, either answers."""

    def __init__(self, width: int) -> None:
        """Make the projections of queries and keys of a width."""
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)

    def forward(
        self, query_RCW: Tensor, key_RLW: Tensor, value_RLV: Tensor, mask_RL: Tensor
    ) -> Tensor:
        """Pool a sequence for each candidate.

        Args:
            query_RCW: float32 ``[R, C, W]``.
            key_RLW: float32 ``[R, L, W]``.
            value_RLV: float32 ``[R, L, V]``.
            mask_RL: float32 ``[R, L]``; 1 = real, 0 = padded.

        Returns:
            float32 ``[R, C, V]``; the zero vector where nothing is real.
        """
        scale = math.sqrt(query_RCW.shape[-1])
        scores = self.query(query_RCW) @ self.key(key_RLW).transpose(1, 2) / scale
        pooled: Tensor = masked_softmax(scores, mask_RL.unsqueeze(1) > 0) @ value_RLV
        return pooled


class SaviorRec(ConversionModel):
    """DIN that also reads items' modal face, and lets each face attend to the other."""

    def __init__(
        self,
        spec: FeatureSpec,
        config: NetworkConfig,
        lookups: Lookups,
        item_vectors: NDArray[np.float32],
        item_codes: NDArray[np.int64],
        seed: int,
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes.
            lookups: the fields of each item and the rare ids.
            item_vectors: float32 ``[I + 2, W]``: SaviorEnc's vectors, never trained here.
            item_codes: int64 ``[I + 2, M]``: their residual codes in 0..k; k = nothing known.
            seed: decides every initial value.

        Raises:
            ValueError: when vectors and codes are not as said.
        """
        super().__init__()
        sizes = widths(spec, config)
        token, modal = sizes.token, item_vectors.shape[1]
        further = [modal, modal, modal, token, modal]
        self.tables = EmbeddingTables(spec, config, lookups)
        self.individual = IndividualChannel(sizes, config, injected=False, further=further)
        self.items = ModalItems(item_vectors, item_codes)
        self.modal = CrossAttention(modal)
        self.modal_to_behaviour = CrossAttention(modal)
        self.behaviour_to_modal = CrossAttention(token)
        initialise(self, seed)

    def forward(self, batch: Batch) -> Output:
        """Score a batch; no further losses."""
        inputs = self.tables.individual(batch)
        candidates = self.items(batch.candidates)
        further = self.modal_parts(inputs, candidates, self.items(batch.history_items))
        return Output(logit=self.individual(**inputs, further=further))

    def modal_parts(
        self, inputs: Inputs, candidates_RCW: Tensor, history_RLW: Tensor
    ) -> tuple[Tensor, ...]:
        """What the tower reads beside DIN's inputs.

        Args:
            inputs: DIN's.
            candidates_RCW: float32 ``[R, C, W]`` modal vectors.
            history_RLW: float32 ``[R, L, W]`` modal vectors.

        Returns:
            The candidate's modal vector, its product with the modal branch, and the branches
            modal, modal to behaviour and behaviour to modal, float32 ``[R, C, ...]`` each.
        """
        behaviour, mask = inputs["history"], inputs["history_mask"]
        modal = self.modal(candidates_RCW, history_RLW, history_RLW, mask)
        return (
            candidates_RCW,
            candidates_RCW * modal,
            modal,
            self.modal_to_behaviour(candidates_RCW, history_RLW, behaviour, mask),
            self.behaviour_to_modal(inputs["candidates"], behaviour, history_RLW, mask),
        )


def _check(vectors: NDArray[np.float32], codes: NDArray[np.int64]) -> None:
    if vectors.ndim != 2 or codes.ndim != 2 or len(vectors) != len(codes) or not codes.size:
        raise ValueError(
            f"item vectors of shape {vectors.shape} and codes of shape {codes.shape}: expected "
            "[I + 2, width] and [I + 2, levels], one row per catalogue row"
        )
    if vectors.dtype != np.float32 or codes.dtype != np.int64 or codes.min() < 0:
        raise ValueError(
            f"item vectors are {vectors.dtype}, codes {codes.dtype} from {codes.min()}: expected "
            "float32, and int64 from 0"
        )
    if not np.isfinite(vectors).all():
        raise ValueError("item vectors: expected finite values")
