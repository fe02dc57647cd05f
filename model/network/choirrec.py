"""ChoirRec: two channels, one-way injection, gated distillation, adaptive fusion."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses import LossConfig, cross_entropy, distillation, margin_loss, mean, qualification
from model.network.ablation import FULL, Ablation, imputed
from model.network.batch import Batch
from model.network.channels import GroupChannel, IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.group_id import GroupCodes
from model.network.layers import initialise
from model.network.reliability import Reliability
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec


@dataclass(frozen=True, eq=False)
class Channels:
    """Outputs of the three graphs."""

    individual_logit: Tensor
    """float32 ``[R, C]``."""
    group_logit: Tensor
    """float32 ``[R, C]``."""
    alpha_fusion: Tensor
    """float32 ``[R, 1]``."""

    @property
    def fused_logit(self) -> Tensor:
        """float32 ``[R, C]``: the logits weighed by alpha_fusion (eq. 10)."""
        alpha = self.alpha_fusion
        return (1 - alpha) * self.individual_logit + alpha * self.group_logit


class ChoirRec(ConversionModel):
    """The paper's model on the shared tables."""

    def __init__(
        self,
        spec: FeatureSpec,
        config: NetworkConfig,
        lookups: Lookups,
        losses: LossConfig,
        seed: int,
        ablation: Ablation = FULL,
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes.
            lookups: the fields of each item and the rare ids.
            losses: constants of the losses.
            seed: decides every initial value.
            ablation: what is left out or changed.
        """
        super().__init__()
        sizes = widths(spec, config)
        self.losses = losses
        self.ablation = ablation
        self.tables = EmbeddingTables(spec, config, lookups)
        self.group_codes = GroupCodes(spec.levels, spec.codes_per_level, config.group_code_dim)
        self.group = GroupChannel(sizes, config, ablation)
        self.individual = IndividualChannel(sizes, config, injected=ablation.injection)
        self.reliability = Reliability(sizes.activity, config.reliability)
        initialise(self, seed)

    @property
    def ablated(self) -> bool:
        """Whether it is less, or other, than the paper's model: then it is never served."""
        return self.ablation != FULL or self.losses.ablated

    def embed(self, batch: Batch) -> Inputs:
        """Embedded rows of a batch: exactly the graphs' inputs of docs/architecture.md."""
        return {
            **self.tables.both(batch),
            "group_codes": self.group_codes(batch.group_codes),
            "activity": batch.activity,
        }

    def channels(self, inputs: Inputs, group_of: Tensor | None = None) -> Channels:
        """Run the three graphs in their order.

        Args:
            inputs: what ``embed`` returns.
            group_of: int64 ``[R]``: where contexts share priors, the row of each one's.
        """
        group_logit, group_injection = self.group(
            inputs["group_codes"],
            inputs["group_attributes"],
            inputs["group_sequence"],
            inputs["group_mask"],
            inputs["candidates"],
            group_of,
        )
        individual_logit = self.individual(
            inputs["user"],
            inputs["history"],
            inputs["history_mask"],
            inputs["candidates"],
            group_injection,
        )
        return Channels(individual_logit, group_logit, self.reliability(inputs["activity"]))

    def forward(self, batch: Batch) -> Output:
        """Score a batch; further losses: distillation and each channel's cross-entropy."""
        if self.ablation.impute_individual:
            batch = imputed(batch)
        shared, group_of = batch.distinct_groups()
        channels = self.channels(self.embed(shared), group_of)
        alpha_distill = self.reliability.alpha_distill(batch.activity)
        individual, group = channels.individual_logit, channels.group_logit
        mask = batch.candidate_mask
        distilled = distillation(individual, group, alpha_distill, batch.purchases, self.losses)
        return Output(
            logit=channels.fused_logit,
            aux={
                "distillation": mean(distilled, mask),
                "individual": cross_entropy(individual, batch.label, mask),
                "group": cross_entropy(group, batch.label, mask),
            },
            diagnostics=self._diagnostics(channels, alpha_distill, batch),
            individual_logit=individual,
            group_logit=group,
            alpha_fusion=channels.alpha_fusion,
            alpha_distill=alpha_distill,
        )

    def aux_weights(self, progress: float) -> Mapping[str, float]:
        """Weights of the further losses; distillation begins after its warm-up."""
        warm = progress >= self.losses.distillation_warmup
        return {
            "distillation": self.losses.distillation_weight if warm else 0.0,
            "individual": self.losses.auxiliary_weight,
            "group": self.losses.auxiliary_weight,
        }

    @torch.no_grad()
    def _diagnostics(
        self, channels: Channels, alpha_distill: Tensor, batch: Batch
    ) -> Mapping[str, Tensor]:
        """What tells a working distillation from a dead one (docs/model.md)."""
        config, mask = self.losses, batch.candidate_mask
        gate = qualification(
            channels.individual_logit, batch.purchases, config.theta_act, config.theta_conf
        )
        excess = margin_loss(
            channels.individual_logit, channels.group_logit, config.temperature, config.margin
        )
        qualified = mean(gate, mask)
        return {
            "alpha_fusion": channels.alpha_fusion.mean(),
            "qualified": qualified,
            "alpha_distill_qualified": mean(gate * alpha_distill, mask) / qualified,
            "beyond_margin_qualified": mean(gate * (excess > 0), mask) / qualified,
        }
