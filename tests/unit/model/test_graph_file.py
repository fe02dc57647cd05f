"""The graph file: read without a runtime, and refused in words whatever the bytes."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model.graph_file import GraphFile, MalformedGraph, read_graph
from tests.fixtures.bundles import make_world
from tests.fixtures.graphs import build_graphs

WORLD = make_world()
GRAPHS = {name: graph.SerializeToString() for name, graph in build_graphs(WORLD.weights).items()}


def test_a_graph_tells_what_it_takes_and_gives() -> None:
    """Inputs and outputs are read with their sizes; free axes have none."""
    assert read_graph(GRAPHS["reliability"]) == GraphFile(
        inputs={"activity": (None, 5)}, outputs={"alpha_fusion": (None, 1)}
    )
    injection = read_graph(GRAPHS["group_channel"]).outputs["group_injection"]
    assert injection == (None, None, 64)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GRAPHS)), st.data())
def test_any_damage_is_refused_in_words_or_harmless(name: str, data: st.DataObject) -> None:
    """No flipped, cut or doubled byte ends in anything but a graph or a reason."""
    content = bytearray(GRAPHS[name])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    tail = data.draw(st.sampled_from([b"", b"\xff" * 20, bytes(content[:cut])]))
    for damaged in (content, content[:cut], content + tail):
        with suppress(MalformedGraph):
            assert isinstance(read_graph(bytes(damaged)), GraphFile)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(content: bytes) -> None:
    """Bytes that are no graph at all are told so."""
    with pytest.raises(MalformedGraph):
        read_graph(content)


def test_the_shape_of_a_weight_may_be_packed() -> None:
    """Both ways in which protobuf writes a list of sizes are read alike."""
    values = np.arange(6, dtype="<f4").tobytes()
    packed = b"\x0a\x02\x02\x03" + b"\x10\x01" + b"\x42\x01w" + b"\x4a\x18" + values
    body = bytearray(GRAPHS["reliability"])
    graph = b"\x2a" + bytes([len(packed)]) + packed
    alone = b"\x08\x0a" + b"\x3a" + bytes([len(graph)]) + graph + b"\x42\x02\x10\x12"
    assert read_graph(alone) == GraphFile({}, {})
    assert read_graph(bytes(body)).inputs


def test_a_tensor_of_any_rank_is_no_input() -> None:
    """A graph that does not say how many axes it takes is refused."""
    anything = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph([], "g", [anything], [])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    with pytest.raises(MalformedGraph, match="input x has elements of type 1, expected float32 in"):
        read_graph(model.SerializeToString())


def test_a_graph_of_countless_parts_is_refused_soon() -> None:
    """Reading ends after a bounded number of fields, however many the file holds."""
    with pytest.raises(MalformedGraph, match="more than 200000 fields"):
        read_graph(b"\x12\x00" * 1_000_000)
