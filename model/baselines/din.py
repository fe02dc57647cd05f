"""DIN, the base model: ChoirRec's individual channel without injection."""

from model.network.batch import Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import initialise
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec


class Din(ConversionModel):
    """Deep Interest Network on the shared tables and tokens (docs/model.md)."""

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
        self.tables = EmbeddingTables(spec, config, lookups)
        self.individual = IndividualChannel(widths(spec, config), config, injected=False)
        initialise(self, seed)

    def embed(self, batch: Batch) -> Inputs:
        """Embedded rows of a batch: ``user``, ``history``, ``history_mask``, ``candidates``."""
        return self.tables.individual(batch)

    def forward(self, batch: Batch) -> Output:
        """Score a batch; no further losses."""
        return Output(logit=self.individual(**self.embed(batch)))
