"""What every inference backend keeps: one suite, every implementation."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tables import Inputs
from service.inference.backend import Backend, Session, UnusableGraph
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from tests.fixtures.bundles import World, make_world
from tests.fixtures.graphs import build_graphs, reference_alpha, reference_logits

Make = Callable[[], Backend]


@pytest.fixture(scope="module", params=[lambda: OnnxRuntimeBackend(1)], ids=["onnxruntime"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """One implementation after the other."""
    make: Make = request.param
    return make()


@pytest.fixture(scope="module")
def session(backend: Backend) -> Session:
    """The graphs of version 1."""
    return backend.load(_graphs(make_world(1)))


def _graphs(world: World) -> Mapping[str, bytes]:
    return {name: g.SerializeToString() for name, g in build_graphs(world.weights).items()}


def _inputs(world: World, requests: int, length: int, seed: int) -> tuple[Inputs, Inputs]:
    """Random group and user sides of R requests."""
    rng = np.random.default_rng(seed)
    token, weights = world.tables.token_width, world.weights
    codes = sum(table.shape[1] for table in world.tables.group_codes)

    def drawn(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return rng.normal(size=shape).astype(np.float32)

    def mask() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (rng.random((requests, length)) < 0.7).astype(np.float32)

    group = {
        "group_codes": drawn(requests, 2, codes // 2),
        "group_attributes": drawn(requests, len(weights.group_side) - codes),
        "group_sequence": drawn(requests, length, token),
        "group_mask": mask(),
    }
    user = {
        "user": drawn(requests, len(weights.user_side)),
        "history": drawn(requests, length, token),
        "history_mask": mask(),
    }
    return group, user


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 7), st.integers(0, 99))
def test_any_shape_equals_the_reference(
    session: Session, requests: int, candidates: int, length: int, seed: int
) -> None:
    """Logits are right for any number of requests, candidates and sequence steps."""
    world = make_world(1)
    group, user = _inputs(world, requests, length, seed)
    shape = (requests, candidates, world.tables.token_width)
    tokens = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    logit, injection = session.group_channel({**group, "candidates": tokens})
    individual = session.individual_channel(
        {**user, "candidates": tokens, "group_injection": injection}
    )
    for r in range(requests):
        prior, side = _only(group, r), _only(user, r)
        wanted = reference_logits(world.weights, prior, side, tokens[r])
        for found, expected in zip((individual[r], logit[r]), wanted, strict=True):
            assert np.all(np.abs(found - expected) <= 1e-5 * np.maximum(1, np.abs(expected)))


def _only(inputs: Inputs, request: int) -> Inputs:
    return {name: values[request : request + 1] for name, values in inputs.items()}


def test_reliability_equals_the_reference(session: Session) -> None:
    """alpha_fusion is right, and of shape [R, 1]."""
    activity = np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5)
    alpha = session.reliability(activity)
    assert alpha.shape == (2, 1)
    expected = [reference_alpha(make_world(1).weights, activity[r : r + 1]) for r in range(2)]
    np.testing.assert_allclose(alpha[:, 0], expected, rtol=1e-5)


def test_provider_is_one_that_manifests_name(backend: Backend) -> None:
    """Tolerances can be looked up by it."""
    assert backend.provider.endswith("ExecutionProvider")


def test_rubbish_is_refused_by_name(backend: Backend) -> None:
    """The operator learns which graph is broken."""
    graphs = {**_graphs(make_world(1)), "individual_channel": b"rubbish"}
    with pytest.raises(UnusableGraph, match=r"individual_channel\.onnx"):
        backend.load(graphs)


def test_other_inputs_are_refused(backend: Backend) -> None:
    """A graph of another signature is found out when it is loaded, not when it is asked."""
    graph = build_graphs(make_world(1).weights)["reliability"]
    graph.graph.input[0].name = graph.graph.node[0].input[0] = "activities"
    graphs = {**_graphs(make_world(1)), "reliability": graph.SerializeToString()}
    with pytest.raises(UnusableGraph, match="'activities'"):
        backend.load(graphs)


def test_weights_outside_the_graph_are_refused(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph cannot read files of the machine, not even of the working directory."""
    folder = tmp_path_factory.mktemp("external")
    monkeypatch.chdir(folder)
    graph = build_graphs(make_world(1).weights)["reliability"]
    weight = next(t for t in graph.graph.initializer if t.name == "reliability")
    (folder / "weights.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    graphs = {**_graphs(make_world(1)), "reliability": graph.SerializeToString()}
    with pytest.raises(UnusableGraph, match=r"reliability\.onnx"):
        backend.load(graphs)
