"""Variants of ChoirRec: the ablations of Table 2 and their kin, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from model.losses import LossConfig
from model.network.ablation import FULL, Ablation
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.single_channel import SingleChannel
from model.network.tables import Lookups
from model.spec import FeatureSpec


@dataclass(frozen=True)
class Variant:
    """ChoirRec with one thing taken away or changed."""

    title: str
    """In tables; the paper's words where Table 2 has the row."""
    ablation: Ablation = FULL
    """What is taken from the network."""
    losses: Mapping[str, Any] = field(default_factory=dict)
    """What is changed in ``LossConfig``."""
    channels: int = 2
    """1: the group prior goes into the individual channel's tower."""


VARIANTS: Mapping[str, Variant] = {
    "choirrec": Variant("ChoirRec"),
    "no_group_id": Variant("w/o ID Emb.", Ablation(group_id=False)),
    "no_group_attributes": Variant("w/o Attr. Emb.", Ablation(group_attributes=False)),
    "no_group_sequence": Variant("w/o Seq. Emb.", Ablation(group_sequence=False)),
    "no_dual_channel": Variant("w/o Dual-Channel", channels=1),
    "no_distillation": Variant("w/o Gated Distillation", losses={"distillation_weight": 0.0}),
    "no_gates": Variant("distillation without gates", losses={"gated": False}),
    "no_injection": Variant("w/o Asymmetric Injection", Ablation(injection=False)),
    "kl": Variant("w/ KL Loss", losses={"divergence": "kl"}),
    "no_margin": Variant("w/o Margin", losses={"margin": 0.0}),
    "impute_individual": Variant("attributes substituted", Ablation(impute_individual=True)),
}
"""All but "w/o LLM Emb.", whose network is the whole one: its groups come from elsewhere."""


def make_variant(
    name: str,
    spec: FeatureSpec,
    config: NetworkConfig,
    lookups: Lookups,
    losses: LossConfig,
    seed: int,
) -> ChoirRec | SingleChannel:
    """Make a variant; parts that it shares with ChoirRec start with ChoirRec's values.

    Args:
        name: one of ``VARIANTS``.
        spec: fields and vocabularies.
        config: sizes, the whole model's: a variant's towers are not widened to make up for what
            is taken.
        lookups: the fields of each item and the rare ids.
        losses: constants of the whole model's losses.
        seed: decides every initial value.

    Raises:
        KeyError: when there is none of that name.
    """
    if name not in VARIANTS:
        raise KeyError(f"no variant {name!r}; known: {', '.join(VARIANTS)}")
    variant = VARIANTS[name]
    if variant.channels == 1:
        return SingleChannel(spec, config, lookups, seed)
    changed = replace(losses, **variant.losses)
    return ChoirRec(spec, config, lookups, changed, seed, variant.ablation)


def variant_sizes(spec: FeatureSpec, config: NetworkConfig, lookups: Lookups) -> dict[str, int]:
    """Dense parameters of every variant, counted without allocating any.

    Args:
        spec: fields and vocabularies.
        config: sizes.
        lookups: the fields of each item and the rare ids.

    Returns:
        Numbers of trained values outside embedding tables, in the order of ``VARIANTS``.
    """
    with torch.device("meta"):
        return {
            name: make_variant(name, spec, config, lookups, LossConfig(), 0).dense_parameters()
            for name in VARIANTS
        }
