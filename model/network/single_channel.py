"""ChoirRec without its second channel: the group prior goes into the user's own tower."""

from model.network.batch import Batch
from model.network.channels import GroupReader, IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.group_id import GroupCodes
from model.network.layers import initialise
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import FeatureSpec


class SingleChannel(ConversionModel):
    """Table 2's "w/o Dual-Channel": no injection, no distillation, no fusion.

    One tower reads all that ChoirRec's two read: the user, e_G, e_PG, the candidate, both pooled
    sequences, and the product of each with the candidate. The paper does not say whether the
    product comes along; without it the group's sequence could hardly be matched with a candidate,
    and two things would be taken away at once. The activity features, inputs of the reliability
    network alone, go with it.
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
        self.tables = EmbeddingTables(spec, config, lookups)
        self.group_codes = GroupCodes(spec.levels, spec.codes_per_level, config.group_code_dim)
        self.group = GroupReader(sizes, config)
        self.individual = IndividualChannel(
            sizes, config, injected=False, further=self.group.own, sequences=2
        )
        initialise(self, seed)

    def embed(self, batch: Batch) -> Inputs:
        """Embedded rows of a batch: those of both channels, without the activity."""
        return {**self.tables.both(batch), "group_codes": self.group_codes(batch.group_codes)}

    def forward(self, batch: Batch) -> Output:
        """Score a batch; no further losses."""
        inputs = self.embed(batch)
        candidates = inputs["candidates"]
        own, pooled_group = self.group.read(
            inputs["group_codes"],
            inputs["group_attributes"],
            inputs["group_sequence"],
            inputs["group_mask"],
            candidates,
        )
        attention, tower = self.individual.attention, self.individual.tower
        pooled = attention(candidates, inputs["history"], inputs["history_mask"])
        mid = tower.mid([inputs["user"], *own], candidates, pooled, *pooled_group)
        return Output(logit=tower.logit(mid))
