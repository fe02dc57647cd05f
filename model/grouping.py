"""The grouping: everything that turns a profile's section vectors into a group_id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.codebooks import Codebooks
from model.encoder import EncoderBlock
from model.residuals import ResidualReference
from model.spec import FeatureSpec


@dataclass(frozen=True, eq=False)
class Grouping:
    """The encoder block, the codebooks and how far users lay from them when they were fitted."""

    encoder: EncoderBlock
    codebooks: Codebooks
    residuals: ResidualReference

    def assign(
        self, section_vectors: NDArray[np.float32], evidence: NDArray[np.float32 | np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Group ids of users, and how sure they are.

        Args:
            section_vectors: float32 ``[N, S, D]``; vectors of missing sections are not read.
            evidence: float32 ``[N, S]``, or bool: how much each section counts, 0 = missing.

        Returns:
            int32 ``[N, M]`` codes, k at every level for users of whom nothing is known; float32
            ``[N]`` confidence in ``[0, 1]``. A row does not depend on the other rows.

        Raises:
            ValueError: when the shapes do not fit the block.

        Source: section 4.2.2.
        """
        vectors = self.encoder.combine(section_vectors, evidence)
        codes = self.codebooks.assign(vectors)
        return codes, self.residuals.confidence(self.codebooks.residual_norms(vectors, codes))

    @classmethod
    def load(cls, folder: Path, spec: FeatureSpec) -> "Grouping":
        """Read the parts from the folder they were saved to.

        Args:
            folder: the folder.
            spec: the feature spec they serve.

        Raises:
            FileNotFoundError: when a file is missing.
            ValueError: when a part is damaged, or the parts do not fit one another.
        """
        grouping = cls(
            encoder=EncoderBlock.load(folder),
            codebooks=Codebooks.load(folder),
            residuals=ResidualReference.load(folder),
        )
        grouping._check(spec)
        return grouping

    def _check(self, spec: FeatureSpec) -> None:
        shape = self.codebooks.centroids.shape
        expected = (spec.levels, spec.codes_per_level, self.encoder.width)
        if shape != expected:
            raise ValueError(
                f"codebooks of shape {shape}, spec and encoder block need {expected}:"
                " export the bundle again"
            )
        if len(self.residuals.quantiles) != spec.levels:
            raise ValueError(
                f"residual quantiles of {len(self.residuals.quantiles)} levels, the codebooks"
                f" have {spec.levels}: export the bundle again"
            )
