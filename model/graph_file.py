"""The graph file: what an ONNX graph holds, read without running any of it.

An ONNX file can name other files, bring loops, functions and operators of foreign libraries, and
claim tensors that no machine holds. A serving graph has none of that, so everything beyond what
this build's export writes is refused here, before a runtime sees the bytes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

IR_VERSIONS = range(8, 11)
"""Versions of the file format that are read."""
OPSETS = range(18, 21)
"""Versions of the standard operators that are read."""
OPERATORS = frozenset(
    """Add Cast Clip Concat Div Exp Expand Gather Gemm MatMul Max Mul Neg ReduceL2 ReduceMean
    ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Sqrt Squeeze Sub Tanh Transpose Unsqueeze
    Where""".split()
)
"""Of the standard domain. None makes more of its inputs than broadcasting them."""
_CUTS = frozenset(("Concat", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))
"""What may be done to constants alone: no result is larger than its inputs together."""
_FLOAT, _INT64 = 1, 7
_DTYPES: Mapping[int, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}
_STANDARD = ("", "ai.onnx")
MAX_FIELDS = 200_000
"""Of all messages in a file; the largest graphs here have a few thousand."""

Axes = tuple[int | None, ...]
"""Sizes of a tensor's axes; None: free."""
_Value = int | memoryview
_Message = Mapping[int, Sequence[Any]]


class MalformedGraph(ValueError):
    """Bytes that are no serving graph: what is wrong with them."""


@dataclass(frozen=True)
class GraphFile:
    """What a graph takes and gives, all float32."""

    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]


def read_graph(serialised: bytes) -> GraphFile:
    """Read a serialised graph and refuse whatever a serving graph has no use for.

    Args:
        serialised: the content of an ``.onnx`` file.

    Returns:
        Its inputs and outputs.

    Raises:
        MalformedGraph: in words, without the file's name.
    """
    reader = _Reader()
    model = reader.message(memoryview(serialised), "model", {1, 2, 3, 4, 5, 6, 7, 8}, {7})
    if 7 not in model:
        raise MalformedGraph("no graph in it")
    _check_versions(reader, model)
    graph = reader.message(model[7][0], "graph", {1, 2, 5, 10, 11, 12, 13}, set())
    constants = {_check_weight(reader, tensor) for tensor in graph.get(5, ())}
    for node in graph.get(1, ()):
        _check_node(reader, node, constants)
    inputs, outputs = graph.get(11, ()), graph.get(12, ())
    return GraphFile(_tensors(reader, inputs, "input"), _tensors(reader, outputs, "output"))


_REFUSED = {
    ("model", 20): "training steps",
    ("model", 25): "functions",
    ("graph", 15): "sparse weights",
    ("tensor", 4): "weights as lists",
    ("tensor", 5): "weights as lists",
    ("tensor", 6): "weights as lists",
    ("tensor", 7): "weights as lists",
    ("tensor", 10): "weights as lists",
    ("tensor", 11): "weights as lists",
    ("tensor", 13): "external data",
    ("tensor", 14): "external data",
    ("attribute", 6): "a graph inside an operator",
    ("attribute", 11): "a graph inside an operator",
}


class _Reader:
    """Reads protobuf's wire format, a bounded number of fields in all."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def message(self, value: _Value, kind: str, known: set[int], once: set[int]) -> _Message:
        """A message's fields by number; every number outside ``known`` is refused.

        Args:
            value: its bytes.
            kind: for messages.
            known: field numbers that may be there.
            once: those of them that protobuf would merge if they came twice.
        """
        fields: dict[int, list[_Value]] = {}
        for number, found in self.fields(_bytes(value, kind)):
            if number not in known:
                reason = _REFUSED.get((kind, number), f"field {number} of a {kind}")
                raise MalformedGraph(f"it has {reason}, which serving graphs do without")
            fields.setdefault(number, []).append(found)
        for number in once:
            if len(fields.get(number, ())) > 1:
                raise MalformedGraph(f"field {number} of the {kind} more than once")
        return fields

    def fields(self, buffer: memoryview) -> Iterator[tuple[int, _Value]]:
        """The fields of a message, in their order."""
        place = 0
        while place < len(buffer):
            self._left -= 1
            if self._left < 0:
                raise MalformedGraph(f"more than {MAX_FIELDS} fields")
            tag, place = _varint(buffer, place)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value, place = _varint(buffer, place)
                yield number, value
                continue
            size, place = _size(buffer, place, wire)
            if place + size > len(buffer):
                raise MalformedGraph(f"no ONNX graph: it ends within field {number}")
            yield number, buffer[place : place + size]
            place += size


def _size(buffer: memoryview, place: int, wire: int) -> tuple[int, int]:
    """How long a field is, and where it begins."""
    if wire == 2:
        return _varint(buffer, place)
    if wire in (1, 5):
        return (8 if wire == 1 else 4), place
    raise MalformedGraph(f"no ONNX graph: wire type {wire} at byte {place}")


def _varint(buffer: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if place >= len(buffer):
            raise MalformedGraph("no ONNX graph: it ends within a number")
        byte = buffer[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise MalformedGraph(f"no ONNX graph: a number without an end at byte {place}")


def _check_versions(reader: _Reader, model: _Message) -> None:
    for version in model.get(1, (0,)):
        if version not in IR_VERSIONS:
            raise MalformedGraph(f"IR version {version}, expected {_span(IR_VERSIONS)}")
    for bytes_ in model.get(8, ()):
        opset = reader.message(bytes_, "operator set", {1, 2}, set())
        domain = _text(opset.get(1, ()))
        if domain not in _STANDARD:
            raise MalformedGraph(f"operators of {domain}, expected standard ones alone")
        for version in opset.get(2, (0,)):
            if version not in OPSETS:
                raise MalformedGraph(f"operators of version {version}, expected {_span(OPSETS)}")


def _span(versions: range) -> str:
    return f"{versions.start} to {versions.stop - 1}"


def _check_weight(reader: _Reader, value: _Value) -> str:
    """The name of a weight, once its bytes are as many as its shape says, and finite."""
    tensor = reader.message(value, "tensor", {1, 2, 8, 9, 12}, {2, 8, 9})
    name, shape = _text(tensor.get(8, ())), _shape(tensor.get(1, ()))
    kind = tensor.get(2, (0,))[0]
    if kind not in _DTYPES:
        raise MalformedGraph(f"weight {name} has elements of type {kind}, expected {_FLOAT} or 7")
    raw = _bytes(tensor.get(9, (memoryview(b""),))[0], "weights")
    expected = math.prod(shape) * _DTYPES[kind].itemsize
    if len(raw) != expected:
        raise MalformedGraph(
            f"weight {name} of shape {shape} needs {expected} bytes, the file has {len(raw)}"
        )
    if kind == _FLOAT and not np.isfinite(np.frombuffer(raw, "<f4")).all():
        raise MalformedGraph(f"weight {name} holds NaN or infinity; train and export again")
    return name


def _shape(values: Sequence[_Value]) -> list[int]:
    shape = []
    for value in values:
        # One number per field, or all of them packed into one.
        packed = [value] if isinstance(value, int) else _packed(value)
        shape += [size - 2**64 if size >= 2**63 else size for size in packed]
    if any(size < 0 for size in shape):
        raise MalformedGraph(f"a weight of shape {shape}")
    return shape


def _packed(buffer: memoryview) -> Iterator[int]:
    if len(buffer) > 640:
        raise MalformedGraph("a weight of more than 64 axes")
    place = 0
    while place < len(buffer):
        value, place = _varint(buffer, place)
        yield value


def _check_node(reader: _Reader, value: _Value, constants: set[str]) -> None:
    """Refuse operators that are not known; results of constants alone become constants."""
    node = reader.message(value, "operator", {1, 2, 3, 4, 5, 6, 7}, {4, 7})
    domain, operator = _text(node.get(7, ())), _text(node.get(4, ()))
    if domain not in _STANDARD or operator not in OPERATORS:
        shown = f"{domain}.{operator}" if domain else operator
        raise MalformedGraph(f"operator {shown} is none of those that serving graphs use")
    for attribute in node.get(5, ()):
        reader.message(attribute, "attribute", {1, 2, 3, 4, 7, 8, 9, 13, 20}, set())
    if all(not name or name in constants for name in map(_name, node.get(1, ()))):
        if operator not in _CUTS:
            raise MalformedGraph(
                f"{operator} of constants alone: the file should hold its result; export again"
            )
        constants.update(map(_name, node.get(2, ())))


def _tensors(reader: _Reader, values: Sequence[_Value], side: str) -> Mapping[str, Axes]:
    tensors: dict[str, Axes] = {}
    for value in values:
        described = reader.message(value, side, {1, 2, 3}, {1, 2})
        name = _text(described.get(1, ()))
        if name in tensors:
            raise MalformedGraph(f"{side} {name} more than once")
        tensors[name] = _axes(reader, described.get(2, (0,))[0], f"{side} {name}")
    return tensors


def _axes(reader: _Reader, value: _Value, place: str) -> Axes:
    kind = reader.message(value, "type", {1, 6}, {1})
    tensor = reader.message(kind.get(1, (memoryview(b""),))[0], "tensor type", {1, 2}, {1, 2})
    element = tensor.get(1, (0,))[0]
    if element != _FLOAT or 2 not in tensor:
        raise MalformedGraph(f"{place} has elements of type {element}, expected float32 in axes")
    axes = [reader.message(a, "axis", {1, 2, 3}, {1, 2}) for _, a in reader.fields(tensor[2][0])]
    return tuple(axis[1][0] if 1 in axis else None for axis in axes)


def _text(values: Sequence[_Value]) -> str:
    return _name(values[-1]) if values else ""


def _name(value: _Value) -> str:
    return bytes(_bytes(value, "text")).decode(errors="replace")


def _bytes(value: _Value, kind: str) -> memoryview:
    if isinstance(value, int):
        raise MalformedGraph(f"no ONNX graph: the number {value} in the place of a {kind}")
    return value
