"""The text encoder's contract, for every implementation: the embedded ones and two endpoints."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.encoder import TextEncoder
from model.wordllama_encoder import WordLlamaEncoder
from offline.artefacts import Store
from offline.encoders import open_minilm
from offline.openai_client import Endpoint
from offline.openai_encoder import EmbeddingModel, OpenAIEncoder, Pace
from tests.fixtures.embedding_server import (
    KEY,
    LLAMA_MODEL,
    LLAMA_WIDTH,
    MODEL,
    NATIVE_WIDTH,
    embedding_llama,
    embedding_server,
)
from tests.fixtures.tiny_log import building, shared_folder

TEXTS = [
    "milk, yogurt, cheese",
    "milk and cheese and butter",
    "battery charger",
    "",
    "age 35-44, city Düsseldorf, income 12.5",
    "   ",
    "mainly dairy (milk, yogurt); often bakery (bread, rolls); " * 8,
    "牛乳 🧀",
]
BLANK = {3, 5}


@dataclass(frozen=True)
class Opened:
    """An encoder to test, and a way to open it once more."""

    encoder: TextEncoder
    again: Callable[[], TextEncoder]


Opener = Callable[[pytest.TempPathFactory], Iterator[Opened]]


def _wordllama(_: pytest.TempPathFactory) -> Iterator[Opened]:
    yield Opened(WordLlamaEncoder(), WordLlamaEncoder)


def _minilm(factory: pytest.TempPathFactory) -> Iterator[Opened]:
    root = shared_folder(factory)

    def opened() -> TextEncoder:
        with building(root):
            return open_minilm(Store(root / "artefacts"))

    yield Opened(opened(), opened)


def _endpoint(_: pytest.TempPathFactory) -> Iterator[Opened]:
    model = EmbeddingModel(MODEL, "1", NATIVE_WIDTH, width=64, instruction="")
    with embedding_server() as url:
        yield _at(url, model)


def _language_model(_: pytest.TempPathFactory) -> Iterator[Opened]:
    model = EmbeddingModel(LLAMA_MODEL, "1", LLAMA_WIDTH, pooling="mean", instruction="")
    with embedding_llama() as url:
        yield _at(url, model)


def _at(url: str, model: EmbeddingModel) -> Opened:
    def opened() -> TextEncoder:
        return OpenAIEncoder(Endpoint(url, KEY), model, Pace(texts=3, requests=2))

    return Opened(opened(), opened)


OPENERS = [
    pytest.param(_wordllama, id="wordllama"),
    pytest.param(_minilm, id="minilm", marks=pytest.mark.slow),
    pytest.param(_endpoint, id="openai"),
    pytest.param(_language_model, id="openai-llama", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=OPENERS)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    """Each encoder in turn, opened once."""
    with contextmanager(request.param)(tmp_path_factory) as found:
        yield found


def test_vectors_are_unit_or_zero(opened: Opened) -> None:
    """Every text weighs the same, and a text without words weighs nothing."""
    vectors = opened.encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), opened.encoder.width)
    assert vectors.dtype == np.float32
    for row, norm in enumerate(np.linalg.norm(vectors, axis=1).tolist()):
        assert norm == (0.0 if row in BLANK else pytest.approx(1.0, rel=1e-5)), TEXTS[row]


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(len(TEXTS))), size=st.integers(1, len(TEXTS)))
def test_row_does_not_depend_on_its_batch(opened: Opened, order: list[int], size: int) -> None:
    """A text encoded alone gets bit for bit the vector it gets among others."""
    whole = opened.encoder.encode(TEXTS)
    chosen = order[:size]
    found = opened.encoder.encode([TEXTS[place] for place in chosen])
    assert found.tobytes() == whole[chosen].tobytes()


def test_opened_again_it_gives_the_same(opened: Opened) -> None:
    """A restart changes neither who it is nor what it says."""
    again = opened.again()
    assert again.identity == opened.encoder.identity
    assert again.encode(TEXTS).tobytes() == opened.encoder.encode(TEXTS).tobytes()


def test_no_texts_give_no_rows(opened: Opened) -> None:
    """Nothing to encode is no error."""
    assert opened.encoder.encode([]).shape == (0, opened.encoder.width)
    assert not opened.encoder.encode(["", " "]).any()


def test_like_texts_are_near(opened: Opened) -> None:
    """Texts of one shelf lie nearer to each other than to another shelf's."""
    dairy, cheese, battery = opened.encoder.encode(TEXTS[:3])
    assert dairy @ cheese > dairy @ battery


def test_identity_tells_the_width(opened: Opened) -> None:
    """Two widths of one model are two encoders."""
    assert str(opened.encoder.width) in opened.encoder.identity
