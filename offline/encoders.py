"""The text encoders that a build may choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import torch
from torch.export import Dim

from model.encoder import TextEncoder
from model.minilm_encoder import MAX_TOKENS, MiniLmEncoder
from model.wordllama_encoder import WordLlamaEncoder
from offline.artefacts import Store
from offline.minilm_network import PACKAGE, load_network, package_folder
from offline.onnx_graphs import serialise
from offline.openai_client import Endpoint
from offline.openai_encoder import INSTRUCTION, WIDTH, EmbeddingModel, OpenAIEncoder, Pace
from offline.rules import ConfigError

EncoderName = Literal["wordllama", "minilm", "openai"]
ENCODERS: tuple[EncoderName, ...] = ("wordllama", "minilm", "openai")
PREFIX = "CHOIRREC_EMBEDDING_"
GRAPH = "minilm.onnx"
_CODE = {
    "wordllama": ("model.wordllama_encoder",),
    "minilm": ("model.minilm_encoder", "offline.minilm_network"),
    "openai": ("offline.openai_encoder",),
}

_LIBRARIES: Mapping[EncoderName, tuple[str, ...]] = {
    "wordllama": ("tokenizers",),
    "minilm": ("tokenizers", "onnxruntime", "onnxruntime-gpu"),
}
"""Libraries whose version can change an encoder's vectors and nothing else."""

Positive = Annotated[int, msgspec.Meta(gt=0)]
Named = Annotated[str, msgspec.Meta(min_length=1)]


class EmbeddingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The encoder "openai", from ``CHOIRREC_EMBEDDING_<MEMBER>``."""

    base_url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    """The endpoint, up to and with its version."""
    model: Named
    """The model's name there."""
    revision: Named
    """Which weights bear that name."""
    native_width: Positive
    """Length of its vectors."""
    width: Positive = WIDTH
    """Leading dimensions kept."""
    pooling: Named = "last-token"
    """How the endpoint pools, for provenance."""
    instruction: str = INSTRUCTION
    """Put before every text."""
    key_file: str = ""
    """A file with the key; none is sent without it."""
    texts: Positive = 32
    """Texts of one request."""
    requests: Positive = 8
    """Requests under way at a time."""

    @property
    def described(self) -> EmbeddingModel:
        """The model; ValueError when its widths do not fit."""
        return EmbeddingModel(
            self.model,
            self.revision,
            self.native_width,
            self.width,
            self.pooling,
            self.instruction,
        )


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder that is chosen and checked, but not opened yet."""

    name: EncoderName = "wordllama"
    embedding: EmbeddingSettings | None = None
    """Settings of "openai", None for the others."""

    @property
    def decides(self) -> str:
        """What the vectors depend on besides code and the libraries that count for every stage."""
        if self.embedding:
            return self.embedding.described.identity
        return ", ".join([self.name, *_installed(_LIBRARIES[self.name])])

    @property
    def code(self) -> tuple[str, ...]:
        """Modules that make the vectors."""
        return _CODE[self.name]

    def open(self, store: Store) -> TextEncoder:
        """Open the encoder.

        Args:
            store: keeps MiniLM's graph, which is exported when it is first asked for.

        Raises:
            ConfigError: when the key file cannot be read.
            FileNotFoundError: when the encoder's weights are not installed.
        """
        if self.embedding:
            settings = self.embedding
            pace = Pace(settings.texts, settings.requests)
            return OpenAIEncoder(_endpoint(settings), settings.described, pace)
        return open_minilm(store) if self.name == "minilm" else WordLlamaEncoder()


def choose_encoder(name: EncoderName, environment: Mapping[str, str]) -> EncoderChoice:
    """Choose an encoder, so that a wrong setting is found before any work is done.

    Args:
        name: which one.
        environment: holds the settings of "openai".

    Raises:
        ConfigError: naming the setting that is missing or wrong, and what was expected.
    """
    return EncoderChoice(name, read_settings(environment) if name == "openai" else None)


def open_minilm(store: Store) -> MiniLmEncoder:
    """MiniLM, exported once into the store; errors as ``EncoderChoice.open``."""
    tokenizer = package_folder() / "tokenizer.json"
    exported = store.make(
        "minilm",
        lambda out: (out / GRAPH).write_bytes(_graph()),
        {"package": version(PACKAGE.replace("_", "-"))},
        code=("offline.minilm_network", "offline.onnx_graphs"),
    )
    return MiniLmEncoder(exported.folder / GRAPH, tokenizer)


def read_settings(environment: Mapping[str, str]) -> EmbeddingSettings:
    """Settings of the encoder "openai".

    Raises:
        ConfigError: naming the member and what was expected.
    """
    members = {
        variable.removeprefix(PREFIX).lower(): text
        for variable, text in environment.items()
        if variable.startswith(PREFIX) and (text or variable == f"{PREFIX}INSTRUCTION")
    }
    try:
        settings = msgspec.convert(members, EmbeddingSettings, strict=False)
        _ = settings.described  # refuses widths that do not fit
    except ValueError as error:
        raise ConfigError(
            f"settings of the encoder openai ({PREFIX}*): {error}; see docs/encoders.md"
        ) from error
    return settings


def _installed(libraries: Sequence[str]) -> list[str]:
    """Name and version of those that are installed."""
    found = [one for name in libraries for one in distributions(name=name)]
    return list(dict.fromkeys(f"{one.name} {one.version}" for one in found))


def _endpoint(settings: EmbeddingSettings) -> Endpoint:
    if not settings.key_file:
        return Endpoint(settings.base_url)
    try:
        key = Path(settings.key_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{PREFIX}KEY_FILE={settings.key_file}: {error}; name a readable file"
        ) from error
    if not key or not key.isprintable():
        raise ConfigError(f"{PREFIX}KEY_FILE={settings.key_file}: expected one key on one line")
    return Endpoint(settings.base_url, key)


def _graph() -> bytes:
    """MiniLM as ONNX, with a free number of tokens."""
    return serialise(
        load_network(),
        (torch.ones(1, 7, dtype=torch.int64),),
        ({1: Dim("tokens", min=2, max=MAX_TOKENS)},),
        (["tokens"], ["vector"]),
        "minilm",
    )
