"""DIN with what ChoirRec knows but no groups: the controls that part information from architecture.

Not a published method. With the activity features alone it is the matched DIN; with the user's
profile vector beside them, the matched DIN + user vector (docs/evaluation.md).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network.batch import Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import initialise
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec

Vectors = NDArray[np.float32]

PROJECTED = 64
"""Width of a projected user vector."""


class UserVectors(nn.Module):
    """One frozen vector per user, projected by a trained layer; the zero vector if unknown."""

    vectors: Tensor

    def __init__(self, vectors: Vectors) -> None:
        """Make the layer.

        Args:
            vectors: float32 ``[users + 1, W]``, by ``Batch.user_number``; row 0 (unknown) is zero.

        Raises:
            ValueError: when shape, type or row 0 is another, or a value is not finite.
        """
        super().__init__()
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.size:
            raise ValueError(
                f"user vectors of shape {vectors.shape}, {vectors.dtype}: expected float32 "
                "[users + 1, width]"
            )
        if vectors[0].any() or not np.isfinite(vectors).all():
            raise ValueError(
                "user vectors: expected finite values and zeros in row 0, which stands for "
                "unknown users"
            )
        # Not of the parameters saved: they belong to the encoder and never change here.
        self.register_buffer("vectors", torch.from_numpy(vectors), persistent=False)
        # Without a bias, so that an unknown user's vector stays zero.
        self.projection = nn.Linear(vectors.shape[1], PROJECTED, bias=False)

    def forward(self, user_number: Tensor) -> Tensor:
        """Look up and project.

        Args:
            user_number: int64 ``[R]``.

        Returns:
            float32 ``[R, PROJECTED]``.
        """
        projected: Tensor = self.projection(self.vectors[user_number])
        return projected


class MatchedDin(ConversionModel):
    """DIN whose tower also reads the user's activity and, where given, a profile vector."""

    def __init__(
        self,
        spec: FeatureSpec,
        config: NetworkConfig,
        lookups: Lookups,
        seed: int,
        user_vectors: Vectors | None = None,
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes.
            lookups: the fields of each item and the rare ids.
            seed: decides every initial value.
            user_vectors: float32 ``[users + 1, W]``, never trained; row 0 is zero. None: the
                tower reads the activity alone.

        Raises:
            ValueError: when the user vectors are not as said.
        """
        super().__init__()
        sizes = widths(spec, config)
        further = [sizes.activity] if user_vectors is None else [sizes.activity, PROJECTED]
        self.tables = EmbeddingTables(spec, config, lookups)
        self.individual = IndividualChannel(sizes, config, injected=False, further=further)
        self.user_vectors = None if user_vectors is None else UserVectors(user_vectors)
        initialise(self, seed)

    def embed(self, batch: Batch) -> Inputs:
        """Embedded rows of a batch: DIN's."""
        return self.tables.individual(batch)

    def forward(self, batch: Batch) -> Output:
        """Score a batch; no further losses."""
        further = [batch.activity]
        if self.user_vectors is not None:
            further.append(self.user_vectors(batch.user_number))
        return Output(logit=self.individual(**self.embed(batch), further=further))
