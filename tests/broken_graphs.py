"""Graphs that must not serve: ways to damage the ONNX files of a good bundle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

Edit = Callable[[ModelProto], object]

LARGE = 10**12
"""Elements that no machine here holds."""


def edit_graph(name: str, edit: Edit) -> Callable[[Path], None]:
    """What changes a graph of a bundle in place."""

    def harm(folder: Path) -> None:
        path = folder / f"{name}.onnx"
        model = onnx.load_from_string(path.read_bytes())
        edit(model)
        path.write_bytes(model.SerializeToString())

    return harm


def external_data(model: ModelProto) -> None:
    """Let a weight stand in another file."""
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/hostname")


def nan_weight(model: ModelProto) -> None:
    """Put one NaN among the weights."""
    tensor = next(i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT)
    values = np.array(numpy_helper.to_array(tensor))
    values.flat[-1] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def huge_weight(model: ModelProto) -> None:
    """Let a weight claim a shape that its bytes do not fill."""
    tensor = next(i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT)
    tensor.dims[:] = [LARGE, 64]


def typed_weight(model: ModelProto) -> None:
    """Give a weight as a list of numbers."""
    tensor = next(i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor)
    tensor.ClearField("raw_data")
    tensor.float_data.extend(values.ravel().tolist())


def text_weight(model: ModelProto) -> None:
    """Add a weight of texts."""
    texts = TensorProto(name="t", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    model.graph.initializer.append(texts)


def sparse_weight(model: ModelProto) -> None:
    """Add a sparse weight that would fill a petabyte."""
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    sparse = helper.make_sparse_tensor(values, places, [LARGE, 1000])
    model.graph.sparse_initializer.append(sparse)


def expanding(model: ModelProto) -> None:
    """Blow a constant up to a petabyte while the graph is loaded."""
    shape = numpy_helper.from_array(np.array([LARGE, 256], np.int64), "enormous")
    model.graph.initializer.append(shape)
    weight = model.graph.initializer[-2].name
    model.graph.node.append(helper.make_node("Expand", [weight, "enormous"], ["blown"]))


def multiplied(model: ModelProto) -> None:
    """Multiply two small constants into a large one while the graph is loaded."""
    for name, shape in (("tall", (10**6, 1)), ("wide", (1, 10**6))):
        values = np.zeros(shape, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.node.append(helper.make_node("MatMul", ["tall", "wide"], ["square"]))


def branching(model: ModelProto) -> None:
    """Hide a graph inside an operator."""
    made = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    inner = GraphProto(name="inner", node=[helper.make_node("Identity", ["x"], ["b"])])
    inner.output.append(made)
    node = helper.make_node("If", ["one"], ["b"], then_branch=inner, else_branch=inner)
    model.graph.node.append(node)


def looping(model: ModelProto) -> None:
    """Add a loop, by its name alone."""
    model.graph.node.append(helper.make_node("Loop", ["two", "one"], ["l"]))


def foreign(model: ModelProto) -> None:
    """Add an operator that a loaded library would bring."""
    model.graph.node.append(helper.make_node("Run", ["one"], ["r"], domain="com.example"))


def foreign_opset(model: ModelProto) -> None:
    """Name another set of operators."""
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def function(model: ModelProto) -> None:
    """Bring a function."""
    opsets = [helper.make_opsetid("", 18)]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    made = helper.make_function("com.example", "F", ["x"], ["y"], nodes, opsets)
    model.functions.append(made)


def input_names(model: ModelProto) -> None:
    """Rename an input."""
    model.graph.input[0].name = "anything"


def output_names(model: ModelProto) -> None:
    """Rename an output."""
    model.graph.output[0].name = "anything"


def input_type(model: ModelProto) -> None:
    """Take integers instead of numbers."""
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def input_shape(model: ModelProto) -> None:
    """Take candidates of another width."""
    taken = next(value for value in model.graph.input if value.name == "candidates")
    taken.type.tensor_type.shape.dim[2].dim_value = 9_999


def one_candidate(model: ModelProto) -> None:
    """Take one candidate at a time."""
    taken = next(value for value in model.graph.input if value.name == "candidates")
    taken.type.tensor_type.shape.dim[1].dim_value = 1


def output_shape(model: ModelProto) -> None:
    """Promise one logit per request instead of one per candidate."""
    del model.graph.output[0].type.tensor_type.shape.dim[1]


def real_output_shape(model: ModelProto) -> None:
    """Keep the promise of one logit per candidate in words, and give two."""
    node = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    name = node.output[0]
    node.output[0] = "single"
    model.graph.node.append(helper.make_node("Concat", ["single", "single"], [name], axis=1))


def another_answer(model: ModelProto) -> None:
    """Change one weight by a little."""
    tensor = next(
        i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT and i.name != "one"
    )
    values = np.array(numpy_helper.to_array(tensor))
    values += np.float32(0.01)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def old_operators(model: ModelProto) -> None:
    """Ask for operators as they were years ago."""
    model.opset_import[0].version = 7


def new_format(model: ModelProto) -> None:
    """Claim a format that is not invented yet."""
    model.ir_version = 999
