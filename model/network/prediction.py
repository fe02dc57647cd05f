"""Prediction: every row of a split scored by a model, context by context."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.network.batch import Split
from model.network.contract import ConversionModel, Output

Floats = NDArray[np.float32]

ROWS_PER_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says about the N rows of a split, float32 ``[N]`` each."""

    logit: Floats
    """The logit that the prediction is made of."""
    individual_logit: Floats | None
    """None for a model of one channel, as the rest."""
    group_logit: Floats | None
    alpha_fusion: Floats | None


@torch.no_grad()
def predict(model: ConversionModel, split: Split) -> Predictions:
    """Score every row of a split; candidates of one context share its user side.

    Args:
        model: any model of the contract; left in evaluation mode.
        split: N rows.

    Returns:
        The predictions in the split's order.
    """
    model.eval()
    columns: dict[str, Floats] = {}
    for block in split.blocks:
        step = max(1, ROWS_PER_BATCH // block.shape[1])
        for start in range(0, len(block), step):
            rows = block[start : start + step]
            for name, values in _columns(model(split.batch(rows)), rows.shape).items():
                columns.setdefault(name, np.zeros(len(split), np.float32))[rows] = values
    return Predictions(
        logit=columns.get("logit", np.zeros(len(split), np.float32)),
        individual_logit=columns.get("individual_logit"),
        group_logit=columns.get("group_logit"),
        alpha_fusion=columns.get("alpha_fusion"),
    )


def _columns(output: Output, shape: tuple[int, ...]) -> dict[str, Floats]:
    tensors = {
        "logit": output.logit,
        "individual_logit": output.individual_logit,
        "group_logit": output.group_logit,
        "alpha_fusion": output.alpha_fusion,
    }
    return {
        name: value.expand(shape).numpy() for name, value in tensors.items() if value is not None
    }
