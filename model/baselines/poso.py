"""POSO: every hidden layer scaled by a gate that reads the user's activity alone.

Our implementation of "POSO: Personalized Cold Start Modules" (arXiv 2108.04690) on DIN. Details the
paper does not give, or that we could not see: which features the gates read (the five activity
features of ChoirRec's reliability network, raw), their hidden width (32), the factor C (2, so that
a gate that starts at zero is the identity) and which layers have one (every hidden layer of the
tower; the last linear layer has none).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.batch import Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import ZeroLinear, initialise
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec

GATE_HIDDEN = 32
GATE_SCALE = 2.0
"""C: the largest factor of a gate."""


class PersonalGate(nn.Module):
    """C sigmoid(MLP(activity)): a factor in (0, C) for each unit of a layer; starts at 1."""

    def __init__(self, activity: int, units: int) -> None:
        """Make the gate.

        Args:
            activity: number of activity features.
            units: width of the layer it scales.
        """
        super().__init__()
        self.hidden = nn.Linear(activity, GATE_HIDDEN)
        self.out = ZeroLinear(GATE_HIDDEN, units)

    def forward(self, activity: Tensor) -> Tensor:
        """The factors.

        Args:
            activity: float32 ``[R, 5]`` in the order of ``spec.ACTIVITY_FEATURES``.

        Returns:
            float32 ``[R, 1, units]``, the same for all candidates of a request.
        """
        factors: Tensor = GATE_SCALE * torch.sigmoid(self.out(F.relu(self.hidden(activity))))
        return factors.unsqueeze(1)


class Poso(ConversionModel):
    """DIN whose hidden layers are scaled by gates of the user's activity."""

    def __init__(
        self,
        spec: FeatureSpec,
        config: NetworkConfig,
        lookups: Lookups,
        seed: int,
        sequence_gate: bool = False,
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes.
            lookups: the fields of each item and the rare ids.
            seed: decides every initial value.
            sequence_gate: whether the pooled history has a gate too.
        """
        super().__init__()
        sizes = widths(spec, config)
        self.tables = EmbeddingTables(spec, config, lookups)
        self.individual = IndividualChannel(sizes, config, injected=False)
        self.gates = nn.ModuleList(PersonalGate(sizes.activity, units) for units in config.tower)
        self.sequence_gate = PersonalGate(sizes.activity, sizes.token) if sequence_gate else None
        initialise(self, seed)

    def embed(self, batch: Batch) -> Inputs:
        """Embedded rows of a batch: DIN's."""
        return self.tables.individual(batch)

    def forward(self, batch: Batch) -> Output:
        """Score a batch; no further losses."""
        inputs, tower = self.embed(batch), self.individual.tower
        candidates = inputs["candidates"]
        pooled = self.individual.attention(candidates, inputs["history"], inputs["history_mask"])
        if self.sequence_gate is not None:
            pooled = pooled * self.sequence_gate(batch.activity)
        first, *rest = [gate(batch.activity) for gate in self.gates]
        hidden = tower.mid([inputs["user"]], candidates, pooled) * first
        for layer, gate in zip([tower.second, *tower.later], rest, strict=True):
            hidden = F.relu(layer(hidden)) * gate
        return Output(logit=tower.out(hidden).squeeze(-1))
