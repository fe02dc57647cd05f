"""What serving takes of a trained ChoirRec: three pure graphs, and tables as plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig, Widths, widths
from model.network.contract import ConversionModel
from model.spec import OOV, FeatureSpec
from model.tables import Floats, Tables

REQUESTS = "R"
CANDIDATES = "C"


@dataclass(frozen=True, eq=False)
class Graph:
    """One graph of a bundle, ready to be exported."""

    name: str
    """Its name in the bundle."""
    module: nn.Module
    """Takes the inputs in order, returns the outputs in order."""
    inputs: dict[str, tuple[str | int, ...]]
    """Axes of each input, in order: a name where the size is free, a number where it is fixed."""
    outputs: tuple[str, ...]
    """Names of the outputs, in order."""

    def example(self, requests: int, candidates: int) -> tuple[Tensor, ...]:
        """Inputs of ones, float32, for tracing the graph."""
        free = {REQUESTS: requests, CANDIDATES: candidates}
        return tuple(
            torch.ones([free[axis] if isinstance(axis, str) else axis for axis in axes])
            for axes in self.inputs.values()
        )


class AblatedModelError(ValueError):
    """A model made to measure what a part is worth, where one to serve was expected."""


def whole(model: ConversionModel) -> ChoirRec:
    """A model, if it is all of ChoirRec: what was made to be measured is never served.

    Args:
        model: any model of the contract.

    Returns:
        The model itself.

    Raises:
        AblatedModelError: when something is taken from it, or changed in it.
    """
    if isinstance(model, ChoirRec) and not model.ablated:
        return model
    what = f" with {model.ablation}, {model.losses}" if isinstance(model, ChoirRec) else ""
    raise AblatedModelError(
        f"{type(model).__name__}{what}: expected the whole ChoirRec; baselines and ablated models "
        "are made to be measured, never to be served: train the method 'choirrec' and export that"
    )


def graphs(model: ConversionModel, spec: FeatureSpec, config: NetworkConfig) -> tuple[Graph, ...]:
    """The graphs of docs/architecture.md in the order in which they depend on each other.

    Args:
        model: a trained model; put into evaluation mode.
        spec: its feature spec.
        config: its sizes.

    Returns:
        ``group_channel``, ``individual_channel`` and ``reliability``.

    Raises:
        AblatedModelError: when the model is not the whole ChoirRec.
    """
    model = whole(model)
    model.eval()
    sizes = widths(spec, config)
    injection = {"group_injection": (REQUESTS, CANDIDATES, config.injection_hidden)}
    candidates = {"candidates": (REQUESTS, CANDIDATES, sizes.token)}
    return (
        Graph(
            "group_channel",
            model.group,
            {**_group_inputs(spec, sizes), **candidates},
            ("group_logit", "group_injection"),
        ),
        Graph(
            "individual_channel",
            model.individual,
            {
                "user": (REQUESTS, sizes.user),
                "history": (REQUESTS, spec.history_len, sizes.token),
                "history_mask": (REQUESTS, spec.history_len),
                **candidates,
                **injection,
            },
            ("individual_logit",),
        ),
        Graph(
            "reliability",
            model.reliability,
            {"activity": (REQUESTS, sizes.activity)},
            ("alpha_fusion",),
        ),
    )


def _group_inputs(spec: FeatureSpec, sizes: Widths) -> dict[str, tuple[str | int, ...]]:
    return {
        "group_codes": (REQUESTS, sizes.levels, sizes.group_code),
        "group_attributes": (REQUESTS, sizes.attributes),
        "group_sequence": (REQUESTS, spec.group_len, sizes.token),
        "group_mask": (REQUESTS, spec.group_len),
    }


@torch.no_grad()
def serving_tables(model: ConversionModel) -> Tables:
    """The model's tables as a bundle stores them.

    Rows of rare users and items hold a copy of the out-of-vocabulary row, so that serving needs
    no list of known ids.

    Args:
        model: a trained model.

    Returns:
        Tables whose look-ups equal the model's own embedding.

    Raises:
        AblatedModelError: when the model is not the whole ChoirRec.
    """
    model = whole(model)
    tables = model.tables
    fields = [*tables.categories, *tables.side]
    return Tables(
        user=_array(tables.user.weight[tables.user_id_row]),
        attributes=_arrays(list(tables.attributes)),
        context=_arrays(list(tables.context)),
        item_tokens=_array(tables.item_tokens(torch.arange(len(tables.item_id_row)))),
        item_id_oov=_array(tables.item.weight[OOV]),
        item_fields=_arrays(fields),
        ages=_array(tables.age.weight),
        group_codes=_arrays(list(model.group_codes.levels)),
    )


def _arrays(tables: Sequence[nn.Module]) -> tuple[Floats, ...]:
    return tuple(_array(table.weight) for table in tables if isinstance(table, nn.Embedding))


def _array(values: Tensor) -> Floats:
    return np.ascontiguousarray(values.detach().numpy(), np.float32)
