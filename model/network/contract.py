"""The contract of every model that training, evaluation and export know."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from model.network.batch import Batch


@dataclass(frozen=True, eq=False)
class Output:
    """What a model says about a batch."""

    logit: Tensor
    """float32 ``[R, C]``: the logit that the prediction is made of."""
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    """Further losses by name, scalars already averaged over real candidates."""
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached scalars worth logging, by name; NaN where a batch has nothing to say."""
    individual_logit: Tensor | None = None
    """float32 ``[R, C]``; only with two channels, as the rest."""
    group_logit: Tensor | None = None
    """float32 ``[R, C]``."""
    alpha_fusion: Tensor | None = None
    """float32 ``[R, 1]``."""
    alpha_distill: Tensor | None = None
    """float32 ``[R, 1]``."""


class ConversionModel(nn.Module, ABC):
    """A model of P(purchase | click, user, item)."""

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Score a batch.

        Args:
            batch: R contexts with C candidates.

        Returns:
            The logits, and the further losses that need the batch's labels.
        """

    def at(self, progress: float) -> None:
        """Be told, before each training step, how far training is; most models need not know.

        Random draws of a step come from torch's own generator, which training seeds by step. What
        a model changes of itself and must not lose when training is killed stands in parameters
        or persistent buffers.

        Args:
            progress: share of the training steps done, in [0, 1].
        """
        return

    def aux_weights(self, progress: float) -> Mapping[str, float]:
        """Weights of the further losses; a loss without a weight does not count.

        Args:
            progress: share of the training steps done, in [0, 1].
        """
        return {}

    def dense_parameters(self) -> int:
        """Number of trained values outside embedding tables (docs/model.md)."""
        tables = {
            id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding)
        }
        return sum(value.numel() for value in self.parameters() if id(value) not in tables)
