"""Choosing a text encoder: by name, with settings that are checked at the door."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from model.wordllama_encoder import WordLlamaEncoder
from offline.artefacts import Store
from offline.encoders import PREFIX, EncoderChoice, choose_encoder, read_settings
from offline.openai_encoder import INSTRUCTION, OpenAIEncoder
from offline.rules import ConfigError

GIVEN = {
    f"{PREFIX}BASE_URL": "http://127.0.0.1:8000/v1",
    f"{PREFIX}MODEL": "Qwen/Qwen3-Embedding-8B",
    f"{PREFIX}REVISION": "1d8ad4c",
    f"{PREFIX}NATIVE_WIDTH": "4096",
    "PATH": "/usr/bin",
}


def test_default_needs_no_settings(tmp_path: Path) -> None:
    """The encoder that comes along is opened without an environment."""
    assert isinstance(choose_encoder("wordllama", {}).open(Store(tmp_path)), WordLlamaEncoder)


def test_endpoint_is_read_from_the_environment(tmp_path: Path) -> None:
    """The production model keeps the first 512 of its 4096 dimensions unless told otherwise."""
    encoder = choose_encoder("openai", GIVEN).open(Store(tmp_path))
    assert isinstance(encoder, OpenAIEncoder)
    assert encoder.width == 512
    assert "Qwen/Qwen3-Embedding-8B@1d8ad4c/last-token/4096-to-512/" in encoder.identity


def test_instruction_may_be_none() -> None:
    """A model that takes no instruction gets none; an unset variable leaves the default."""
    assert read_settings(GIVEN).instruction == INSTRUCTION
    assert read_settings(GIVEN | {f"{PREFIX}INSTRUCTION": ""}).instruction == ""


def test_key_comes_from_a_file(tmp_path: Path) -> None:
    """No key stands in the environment, where other programs of the user could read it."""
    key = tmp_path / "key"
    key.write_text("secret\n")
    encoder = choose_encoder("openai", GIVEN | {f"{PREFIX}KEY_FILE": str(key)}).open(Store(key))
    assert isinstance(encoder, OpenAIEncoder)
    assert encoder._endpoint.api_key == "secret"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BASE_URL": "ftp://x"}, r"base_url"),
        ({"MODEL": ""}, r"`model`"),
        ({"NATIVE_WIDTH": "many"}, r"native_width"),
        ({"NATIVE_WIDTH": "0"}, r"native_width"),
        ({"WIDTH": "5000"}, r"width 5000, expected 1 to 4096"),
        ({"SURPRISE": "1"}, r"surprise"),
        ({"KEY_FILE": "/nowhere/key"}, r"KEY_FILE=/nowhere/key: .*name a readable file"),
        ({"KEY_FILE": "/dev/null"}, r"expected one key on one line"),
    ],
)
def test_wrong_setting_is_refused_by_name(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    """A mistake is found before anything is sent."""
    given = GIVEN | {f"{PREFIX}{name}": value for name, value in change.items()}
    with pytest.raises(ConfigError, match=reason):
        choose_encoder("openai", given).open(Store(tmp_path))


def test_artefacts_are_told_apart_by_what_decides_the_vectors() -> None:
    """Another revision or instruction builds the vectors again; another pace does not."""
    chosen = choose_encoder("openai", GIVEN)
    others = {"REVISION": "2", "WIDTH": "256", "INSTRUCTION": "", "POOLING": "mean", "MODEL": "m"}
    decided = {choose_encoder("openai", GIVEN | {PREFIX + k: v}).decides for k, v in others.items()}
    assert len(decided | {chosen.decides, choose_encoder("minilm", {}).decides}) == 7
    paced = GIVEN | {f"{PREFIX}TEXTS": "5", f"{PREFIX}REQUESTS": "1"}
    assert choose_encoder("openai", paced).decides == chosen.decides


def test_versions_of_an_encoders_libraries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of another runtime or tokenizer are other vectors, and no one else's artefacts."""
    assert "onnxruntime" in EncoderChoice("minilm").decides
    assert "onnxruntime" not in EncoderChoice("wordllama").decides
    later = [SimpleNamespace(name="tokenizers", version="99")]
    monkeypatch.setattr("offline.encoders.distributions", lambda name: later)
    assert EncoderChoice("minilm").decides == "minilm, tokenizers 99"
    assert EncoderChoice("wordllama").decides == "wordllama, tokenizers 99"
