"""The Triton repository fits the graphs, by Triton's own schema."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from model.bundle import GRAPHS, Bundle
from offline.golden_requests import request_arrays
from offline.onnx_graphs import signature
from offline.parity import GraphRunner
from offline.triton import ENSEMBLE, ENSEMBLE_OUTPUTS, write_triton

PYTHON_MODEL = Path(__file__).parents[3] / "deploy" / "triton" / "python" / "model.py"


@pytest.fixture(scope="module")
def repository(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the exported bundle."""
    folder = tmp_path_factory.mktemp("export") / "triton"
    write_triton(bundle, folder)
    return folder


def config_of(repository: Path, name: str) -> Any:
    """A model's configuration as Triton reads it."""
    text = (repository / name / "config.pbtxt").read_text()
    return text_format.Parse(text, ModelConfig())


def tensors(values: Any) -> dict[str, tuple[int, ...]]:
    """Names and sizes of a configuration's tensors, all float32."""
    assert {value.data_type for value in values} == {11}  # TYPE_FP32
    return {value.name: tuple(value.dims) for value in values}


@pytest.mark.parametrize("name", GRAPHS)
def test_configurations_fit_their_graphs(bundle: Bundle, repository: Path, name: str) -> None:
    """Each configuration parses as Triton's own, and names and sizes are those of its graph."""
    config = config_of(repository, name)
    graph = signature(bundle.graphs[name])
    assert config.name == name
    assert config.backend == "onnxruntime"
    assert tensors(config.input) == graph.inputs
    assert tensors(config.output) == graph.outputs
    assert config.max_batch_size > 1
    assert max(config.dynamic_batching.preferred_batch_size) <= config.max_batch_size
    assert config.dynamic_batching.max_queue_delay_microseconds > 0
    assert (repository / name / "1" / "model.onnx").read_bytes() == bundle.graphs[name]


def test_the_ensemble_wires_every_tensor(bundle: Bundle, repository: Path) -> None:
    """Every step's inputs come from the request or an earlier step, and every output is made."""
    config = config_of(repository, ENSEMBLE)
    assert config.platform == "ensemble"
    available = dict(tensors(config.input))
    for step in config.ensemble_scheduling.step:
        graph = signature(bundle.graphs[step.model_name])
        assert dict(step.input_map) == {name: name for name in graph.inputs}
        assert {name: available[name] for name in graph.inputs} == graph.inputs
        available.update(graph.outputs)
    assert [step.model_name for step in config.ensemble_scheduling.step] == list(GRAPHS)
    assert tensors(config.output) == {name: available[name] for name in ENSEMBLE_OUTPUTS}
    assert (repository / ENSEMBLE / "1").is_dir()


def test_writing_again_replaces_everything(bundle: Bundle, tmp_path: Path) -> None:
    """A repository is replaced as a whole: no model of an older one stays."""
    folder = tmp_path / "triton"
    (folder / "older").mkdir(parents=True)
    write_triton(bundle, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*GRAPHS, ENSEMBLE])
    assert [path.name for path in tmp_path.iterdir()] == ["triton"]


def python_backend() -> ModuleType:
    """What Triton's Python backend offers a model, as plain objects."""
    backend = ModuleType("triton_python_backend_utils")
    vars(backend).update(
        Tensor=lambda name, array: SimpleNamespace(name=name, array=array),
        InferenceResponse=lambda output_tensors: output_tensors,
        get_input_tensor_by_name=lambda request, name: SimpleNamespace(
            as_numpy=lambda: request[name]
        ),
    )
    return backend


def test_the_python_variant_answers_as_the_graph(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python-backend model gives each joined request what the graph gives it alone."""
    write_triton(bundle, tmp_path / "triton", PYTHON_MODEL)
    folder = tmp_path / "triton" / "group_channel"
    config = config_of(tmp_path / "triton", "group_channel")
    assert config.backend == "python"
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", python_backend())
    spec = importlib.util.spec_from_file_location("triton_model", folder / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    told = {
        "input": [{"name": tensor.name} for tensor in config.input],
        "output": [{"name": tensor.name} for tensor in config.output],
    }
    model.initialize(
        {"model_config": json.dumps(told), "model_repository": str(folder), "model_version": "1"}
    )
    runner = GraphRunner(bundle.graphs)
    asked = []
    for golden in bundle.golden:
        users, groups, rows = request_arrays(bundle.spec, bundle.catalogue, golden)
        side = {**bundle.tables.user_inputs(users), **bundle.tables.group_inputs(groups)}
        tokens = bundle.tables.item_tokens[rows]
        asked.append({**side, "activity": users.activity, "candidates": tokens})
    for inputs, response in zip(asked, model.execute(asked), strict=True):
        logit, injection = response
        assert (logit.name, injection.name) == ("group_logit", "group_injection")
        np.testing.assert_allclose(logit.array, runner.run(inputs).group_logit, atol=1e-5)
