"""ONNX: the serving graphs of a trained network, serialised, and what they take and give."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn
from torch.export import Dim

from model.network.serving import CANDIDATES, REQUESTS, Graph

OPSET = 20
LARGEST_WEIGHT = 1 << 24
"""Elements of a weight that the file holds folded; the exporter's own limits are a few thousand."""


def to_onnx(graph: Graph) -> bytes:
    """One graph as ONNX: free axes R and C, nothing but the graph inside, equal bytes every time.

    Args:
        graph: a module and the names and axes of its inputs.

    Returns:
        The serialised model, checked.
    """
    free = {axis: Dim(axis) for axis in (REQUESTS, CANDIDATES)}
    shapes = tuple(
        {axis: free[name] for axis, name in enumerate(axes) if isinstance(name, str)}
        for axes in graph.inputs.values()
    )
    example = graph.example(requests=2, candidates=3)
    names = (list(graph.inputs), list(graph.outputs))
    return serialise(graph.module, example, shapes, names, graph.name)


def serialise(
    module: nn.Module,
    example: tuple[Tensor, ...],
    shapes: tuple[Mapping[int, Any], ...],
    names: tuple[list[str], list[str]],
    title: str,
) -> bytes:
    """Any module as ONNX: nothing but the graph inside, equal bytes every time.

    Args:
        module: what to export.
        example: its inputs, of any sizes that fit.
        shapes: the free axes of each input, as ``torch.export`` takes them.
        names: of the inputs and of the outputs.
        title: of the graph.

    Returns:
        The serialised model, checked.
    """
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            module,
            example,
            input_names=names[0],
            output_names=names[1],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        # Sums of slices of weights: unfolded, every run of the graph would make them again.
        limits = {"input_size_limit": LARGEST_WEIGHT, "output_size_limit": LARGEST_WEIGHT}
        fold_constants(program.model, **limits)
    return _bare(program.model_proto, title).SerializeToString(deterministic=True)


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives: sizes of every axis but the first (R), -1 where free."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


def signature(serialised: bytes) -> Signature:
    """Read a graph's inputs and outputs.

    Args:
        serialised: what ``to_onnx`` returned.
    """
    graph = onnx.load_from_string(serialised).graph
    return Signature(_sizes(graph.input), _sizes(graph.output))


def _sizes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(
            -1 if axis.HasField("dim_param") else axis.dim_value
            for axis in value.type.tensor_type.shape.dim[1:]
        )
        for value in values
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporter says of its internals, and of axes that share a name by intent."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _bare(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The graph without what the exporter tells of the machine and the code it ran on."""
    model.graph.name = name
    model.producer_name, model.producer_version, model.doc_string = "choirrec", "", ""
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")
    onnx.checker.check_model(model, full_check=True)
    return model
