"""Cold-Transformer: the user's rows adapted by what came of the user's last clicks.

Our implementation of "Transform Cold-Start Users into Warm via Fused Behaviors" (SIGIR 2022), its
context-based embedding adaption and its label encoding, on DIN. Details the paper does not give, or
that we could not see: the form of the adaption (feature by feature, scale and shift, starting as
the identity), the form of the label encoding (a row per outcome, added), depth, heads and widths
(one pre-norm layer, two heads, as wide as the attention unit), no dropout (as in every model here),
and the scorer (DIN's tower where the original has two towers). A click whose outcome is still open
has a row of its own; places are counted from the newest click.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.batch import PENDING, Batch
from model.network.channels import IndividualChannel
from model.network.config import NetworkConfig, widths
from model.network.contract import ConversionModel, Output
from model.network.layers import FIELD_STD, Table, ZeroLinear, initialise
from model.network.readout import TransformerReadout
from model.network.tables import EmbeddingTables, Inputs, Lookups
from model.spec import AGE_BUCKETS, PAD, FeatureSpec

HEADS = 2
PLACES = 50
"""Places with a row of their own; older clicks share the last."""


class FusedBehaviours(nn.Module):
    """A user's clicks with their outcomes, read into one context vector."""

    def __init__(self, token: int, user: int, width: int) -> None:
        """Make the layers.

        Args:
            token: D, width of an item token.
            user: U, width of the user's rows.
            width: d, width of a step and of the context vector.
        """
        super().__init__()
        self.item = nn.Linear(token, width)
        self.outcome = Table(PENDING + 1, width, FIELD_STD)
        self.place = Table(PLACES + 1, width, FIELD_STD)
        self.age = Table(AGE_BUCKETS, width, FIELD_STD)
        self.user = nn.Linear(user, width)
        self.layer = TransformerReadout(width, HEADS, 2 * width)

    def forward(
        self,
        user_RU: Tensor,
        tokens_ND: Tensor,
        which_RL: Tensor,
        ages_RL: Tensor,
        outcomes_RL: Tensor,
    ) -> Tensor:
        """Sum up the clicks as they matter to a user.

        Args:
            user_RU: float32 ``[R, U]``.
            tokens_ND: float32 ``[N, D]``: the distinct items clicked.
            which_RL: int64 ``[R, L]``: which of them each step is.
            ages_RL: int64 ``[R, L]``.
            outcomes_RL: int64 ``[R, L]``; PAD where there is no click.

        Returns:
            float32 ``[R, d]``.
        """
        real_RL = outcomes_RL != PAD
        steps = F.embedding(which_RL, self.item(tokens_ND)) + self.outcome(outcomes_RL)
        steps = steps + self.place(_places(real_RL)) + self.age(ages_RL)
        query = self.user(user_RU)
        rows = torch.cat([query.unsqueeze(1), steps], dim=1)
        mask = F.pad(real_RL.to(torch.float32), (1, 0), value=1.0)
        context: Tensor = self.layer(query, rows, mask)
        return context


def _places(real_RL: Tensor) -> Tensor:
    """Place of each step, the newest 1; PAD where nothing is real."""
    from_newest = real_RL.flip(1).cumsum(1).flip(1)
    return from_newest.clamp(max=PLACES).masked_fill(~real_RL, PAD)


class EmbeddingAdaption(nn.Module):
    """(1 + gamma) e_user + beta, gamma and beta from [e_user; context]; starts as the identity."""

    def __init__(self, user: int, context: int) -> None:
        """Make the layers.

        Args:
            user: U, width of the user's rows.
            context: d, width of the context vector.
        """
        super().__init__()
        self.hidden = nn.Linear(user + context, 2 * context)
        self.out = ZeroLinear(2 * context, 2 * user)

    def forward(self, user_RU: Tensor, context_RD: Tensor) -> Tensor:
        """Adapt the user's rows.

        Args:
            user_RU: float32 ``[R, U]``.
            context_RD: float32 ``[R, d]``.

        Returns:
            float32 ``[R, U]``.
        """
        hidden = F.relu(self.hidden(torch.cat([user_RU, context_RD], dim=-1)))
        gamma, beta = self.out(hidden).chunk(2, dim=-1)
        adapted: Tensor = (1.0 + gamma) * user_RU + beta
        return adapted


class ColdTransformer(ConversionModel):
    """DIN on user rows that the user's last clicks and their outcomes have adapted."""

    def __init__(
        self, spec: FeatureSpec, config: NetworkConfig, lookups: Lookups, seed: int
    ) -> None:
        """Make the model.

        Args:
            spec: fields and vocabularies.
            config: sizes; d is the first width of its attention unit.
            lookups: the fields of each item and the rare ids.
            seed: decides every initial value.
        """
        super().__init__()
        sizes = widths(spec, config)
        self.tables = EmbeddingTables(spec, config, lookups)
        self.individual = IndividualChannel(sizes, config, injected=False)
        width = config.attention[0]
        self.behaviours = FusedBehaviours(sizes.token, sizes.user, width)
        self.adaption = EmbeddingAdaption(sizes.user, width)
        initialise(self, seed)

    def embed(self, batch: Batch) -> Inputs:
        """Embedded rows of a batch: DIN's, the user's rows adapted.

        Raises:
            ValueError: when the batch holds no clicks.
        """
        inputs = self.tables.individual(batch)
        return {**inputs, "user": self.adaption(inputs["user"], self.context(batch, inputs))}

    def context(self, batch: Batch, inputs: Inputs) -> Tensor:
        """What the last clicks say of each user.

        Args:
            batch: R contexts with clicks.
            inputs: DIN's inputs of the same batch.

        Returns:
            float32 ``[R, d]``.

        Raises:
            ValueError: when the batch holds no clicks.
        """
        items, ages, outcomes = batch.click_items, batch.click_ages, batch.click_outcomes
        if items is None or ages is None or outcomes is None:
            raise ValueError(
                "Cold-Transformer reads the last clicks and what came of them, and this split "
                "holds none: expected a split with clicks"
            )
        rows, which = torch.unique(items, return_inverse=True)
        tokens = self.tables.item_tokens(rows)
        context: Tensor = self.behaviours(inputs["user"], tokens, which, ages, outcomes)
        return context

    def forward(self, batch: Batch) -> Output:
        """Score a batch; no further losses."""
        return Output(logit=self.individual(**self.embed(batch)))
