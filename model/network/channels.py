"""The two channels and the one-way injection between them (eq. 6)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.ablation import FULL, Ablation
from model.network.attention import TargetAttention
from model.network.config import NetworkConfig, Widths
from model.network.group_id import GroupId
from model.network.layers import MatchingLinear, SplitLinear, ZeroLinear
from model.network.linear import Linear


class Tower(nn.Module):
    """A channel's layers: inputs -> mid (first hidden) -> post (second hidden) -> logit."""

    def __init__(
        self,
        own: Sequence[int],
        fields: Sequence[int],
        hidden: Sequence[int],
        sequences: int = 1,
    ) -> None:
        """Make the tower.

        Args:
            own: widths of the channel's own inputs; after them the first layer reads the
                candidate, the pooled sequences and the products of each with the candidate.
            fields: widths of a token's fields.
            hidden: hidden widths, two at least.
            sequences: number of pooled sequences: a channel has one, ablations none or two.
        """
        super().__init__()
        self.first = _first_layer(own, fields, hidden[0], sequences)
        self.second = Linear(hidden[0], hidden[1])
        self.later = nn.ModuleList(Linear(below, above) for below, above in pairwise(hidden[1:]))
        self.out = Linear(hidden[-1], 1)

    def mid(self, own: Sequence[Tensor], candidates_RCD: Tensor, *pooled_RCD: Tensor) -> Tensor:
        """First hidden layer, after its ReLU.

        Args:
            own: the channel's own inputs, float32 ``[R, width]`` each, or ``[R, C, width]`` where
                the candidate decides them too.
            candidates_RCD: float32 ``[R, C, D]``.
            pooled_RCD: float32 ``[R, C, D]``: each sequence, pooled for each candidate.

        Returns:
            float32 ``[R, C, H1]``.
        """
        parts = [part.unsqueeze(1) if part.dim() == 2 else part for part in own]
        products = [pooled * candidates_RCD for pooled in pooled_RCD]
        matched = products if len(products) < 2 else [torch.cat(products, dim=-1)]
        return F.relu(self.first([*parts, candidates_RCD, *pooled_RCD, *matched]))

    def logit(self, mid_RCH: Tensor, injected_RCH: Tensor | None = None) -> Tensor:
        """The rest of the tower.

        Args:
            mid_RCH: float32 ``[R, C, H1]``.
            injected_RCH: float32 ``[R, C, H2]``, added to the second hidden layer after its
                ReLU; None for a tower of its own.

        Returns:
            float32 ``[R, C]``.
        """
        hidden: Tensor = F.relu(self.second(mid_RCH))
        if injected_RCH is not None:
            hidden = hidden + injected_RCH
        for layer in self.later:
            hidden = F.relu(layer(hidden))
        logit: Tensor = self.out(hidden)
        return logit.squeeze(-1)


def _first_layer(
    own: Sequence[int], fields: Sequence[int], out: int, sequences: int
) -> SplitLinear:
    token = sum(fields)
    read = [*own, *[token] * (1 + sequences)]
    if not sequences:
        return SplitLinear(read, out)
    return MatchingLinear([*read, token * sequences], out, [*fields] * sequences)


class Injection(nn.Module):
    """W2 ReLU(W1 [h_mid_group; h_mid_ind] + b1) + b2, the group part given (eq. 6).

    ``W1`` over the concatenation is split: ``group_injection = W1g h_mid_group`` comes from the
    group channel, where it can be cached. ``W2`` starts at zero, so training starts as if there
    were no injection.
    """

    def __init__(self, mid: int, hidden: int, post: int) -> None:
        """Make the layers.

        Args:
            mid: width of the individual channel's first hidden layer.
            hidden: width of ``group_injection``.
            post: width of the individual channel's second hidden layer.
        """
        super().__init__()
        self.individual = Linear(mid, hidden)
        self.out = ZeroLinear(hidden, post)

    def forward(self, mid_RCH: Tensor, group_injection_RCH: Tensor) -> Tensor:
        """What is added to the individual channel's second hidden layer.

        Args:
            mid_RCH: float32 ``[R, C, H1]`` of the individual channel.
            group_injection_RCH: float32 ``[R, C, injection_hidden]``.

        Returns:
            float32 ``[R, C, H2]``.
        """
        injected: Tensor = self.out(F.relu(self.individual(mid_RCH) + group_injection_RCH))
        return injected


class GroupReader(nn.Module):
    """What is read of a group prior: group id, attributes, and the sequence for each candidate."""

    def __init__(self, widths: Widths, config: NetworkConfig, ablation: Ablation = FULL) -> None:
        """Make the layers that read.

        Args:
            widths: widths of the inputs.
            config: the network's sizes.
            ablation: what is not read; it has no layer.
        """
        super().__init__()
        self.reads_attributes = ablation.group_attributes
        self.group_id: GroupId | None = None
        self.attention: TargetAttention | None = None
        self.own: list[int] = []
        if ablation.group_id:
            self.group_id = GroupId(widths.levels, widths.group_code)
            self.own.append(widths.group_code)
        if ablation.group_attributes:
            self.own.append(widths.attributes)
        if ablation.group_sequence:
            self.attention = TargetAttention(widths.fields, config.attention)

    def read(
        self,
        group_codes: Tensor,
        group_attributes: Tensor,
        group_sequence: Tensor,
        group_mask: Tensor,
        candidates: Tensor,
        group_of: Tensor | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Read a prior for its candidates.

        Args:
            group_codes: float32 ``[R, M, d_e]`` base embeddings (eq. 4).
            group_attributes: float32 ``[R, A]``.
            group_sequence: float32 ``[R, L, D]``.
            group_mask: float32 ``[R, L]``.
            candidates: float32 ``[R, C, D]``.
            group_of: int64 ``[R]``: where contexts share priors, which row of the inputs before
                ``candidates`` each of them reads; None: its own.

        Returns:
            What a tower reads beside the candidates: a channel's own inputs, float32
            ``[R, width]`` of the widths ``own``; and the pooled sequence, float32 ``[R, C, D]``,
            none where the ablation drops it.
        """
        pooled = []
        if self.attention is not None:
            pooled = [self.attention(candidates, group_sequence, group_mask, group_of)]
        own = [] if self.group_id is None else [self.group_id(group_codes)]
        if self.reads_attributes:
            own.append(group_attributes)
        if group_of is not None:
            own = [part.index_select(0, group_of) for part in own]
        return own, pooled


class GroupChannel(GroupReader):
    """What the semantic group says about a candidate; sees no user id and no context."""

    def __init__(self, widths: Widths, config: NetworkConfig, ablation: Ablation = FULL) -> None:
        """Make the channel from the inputs' widths, the network's sizes and what is left out."""
        super().__init__(widths, config, ablation)
        sequences = int(ablation.group_sequence)
        self.tower = Tower(self.own, widths.fields, config.tower, sequences)
        mid, hidden = config.tower[0], config.injection_hidden
        self.injection = Linear(mid, hidden, bias=False) if ablation.injection else None

    def forward(
        self,
        group_codes: Tensor,
        group_attributes: Tensor,
        group_sequence: Tensor,
        group_mask: Tensor,
        candidates: Tensor,
        group_of: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Score candidates by the group prior.

        The injection reads the mid layer detached: the individual channel's loss never shapes
        the group channel (docs/model.md).

        Args:
            group_codes: float32 ``[R, M, d_e]`` base embeddings (eq. 4).
            group_attributes: float32 ``[R, A]``.
            group_sequence: float32 ``[R, L, D]``.
            group_mask: float32 ``[R, L]``.
            candidates: float32 ``[R, C, D]``.
            group_of: int64 ``[R]``: where contexts share priors, which row of the inputs before
                ``candidates`` each of them reads; None: its own.

        Returns:
            ``group_logit`` float32 ``[R, C]`` and ``group_injection`` float32
            ``[R, C, injection_hidden]``, the group part of eq. 6's first layer; None without
            injection.
        """
        own, pooled = self.read(
            group_codes, group_attributes, group_sequence, group_mask, candidates, group_of
        )
        mid = self.tower.mid(own, candidates, *pooled)
        logit = self.tower.logit(mid)
        return logit, None if self.injection is None else self.injection(mid.detach())


class IndividualChannel(nn.Module):
    """What the user's own features and purchases say about a candidate; without injection, DIN."""

    def __init__(
        self,
        widths: Widths,
        config: NetworkConfig,
        injected: bool,
        further: Sequence[int] = (),
        sequences: int = 1,
    ) -> None:
        """Make the channel.

        Args:
            widths: widths of the inputs.
            config: the network's sizes.
            injected: whether it takes group knowledge (eq. 6).
            further: widths of what another model's tower reads after the user.
            sequences: number of pooled sequences that its tower reads, the user's own first.
        """
        super().__init__()
        self.attention = TargetAttention(widths.fields, config.attention)
        self.tower = Tower([widths.user, *further], widths.fields, config.tower, sequences)
        mid, post = config.tower[:2]
        self.injection = Injection(mid, config.injection_hidden, post) if injected else None

    def forward(
        self,
        user: Tensor,
        history: Tensor,
        history_mask: Tensor,
        candidates: Tensor,
        group_injection: Tensor | None = None,
        further: Sequence[Tensor] = (),
    ) -> Tensor:
        """Score candidates for a user.

        Args:
            user: float32 ``[R, U]``.
            history: float32 ``[R, L, D]``.
            history_mask: float32 ``[R, L]``.
            candidates: float32 ``[R, C, D]``.
            group_injection: float32 ``[R, C, injection_hidden]``; None without injection.
            further: float32 ``[R, width]`` or ``[R, C, width]`` each.

        Returns:
            ``individual_logit`` float32 ``[R, C]``.
        """
        pooled = self.attention(candidates, history, history_mask)
        mid = self.tower.mid([user, *further], candidates, pooled)
        if self.injection is None or group_injection is None:
            return self.tower.logit(mid)
        return self.tower.logit(mid, self.injection(mid, group_injection))
