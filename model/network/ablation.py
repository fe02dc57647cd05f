"""Ablation: what is taken from ChoirRec's network, or changed in it, one thing at a time."""

from dataclasses import dataclass, replace

import torch

from model.network.batch import Batch
from model.spec import PAD


@dataclass(frozen=True)
class Ablation:
    """Switches of the network; the defaults are the whole model's.

    What is switched off is left out: a layer that read it becomes narrower, none reads zeros.
    What can be taken from the losses stands in ``losses.LossConfig``.
    """

    group_id: bool = True
    """e_G, the group id, in the group channel ("w/o ID Emb." of Table 2)."""
    group_attributes: bool = True
    """e_PG, the group's attributes, in the group channel ("w/o Attr. Emb.")."""
    group_sequence: bool = True
    """The group's sequence, its attention and the match with it ("w/o Seq. Emb.")."""
    injection: bool = True
    """Group knowledge in the individual channel, eq. 6 ("w/o Asymmetric Injection")."""
    impute_individual: bool = False
    """Whether an attribute that a user lacks takes the group's value in the individual channel
    too (section 4.3.2 of the paper)."""

    def __post_init__(self) -> None:
        if not (self.group_id or self.group_attributes or self.group_sequence):
            raise ValueError(
                "an ablation without group id, attributes and sequence: expected one of them at "
                "least, because the group channel would know no group; for a model without groups "
                "take DIN"
            )


FULL = Ablation()
"""Nothing taken, nothing changed."""


def imputed(batch: Batch) -> Batch:
    """Fill the attributes that users lack from their groups' (section 4.3.2 of the paper).

    A discrete attribute takes the group's mode, a continuous one the group's mean with its missing
    flag: what the group lacks too stays missing. An out-of-vocabulary value is not missing.

    Args:
        batch: R contexts.

    Returns:
        The batch with other ``attributes`` and ``continuous``; the activity keeps the completeness
        of what the user gave.
    """
    missing = batch.attributes == PAD
    flags = batch.continuous[:, batch.continuous.shape[1] // 2 :].bool()
    return replace(
        batch,
        attributes=torch.where(missing, batch.group_attributes, batch.attributes),
        continuous=torch.where(
            torch.cat([flags, flags], dim=1), batch.group_continuous, batch.continuous
        ),
    )
