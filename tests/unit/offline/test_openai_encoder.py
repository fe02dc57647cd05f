"""The OpenAI-compatible encoder against a real server process, faults included."""

import numpy as np
import pytest
from numpy.typing import NDArray

from offline.openai_client import Endpoint
from offline.openai_encoder import (
    INSTRUCTION,
    EmbeddingModel,
    EncoderFailed,
    OpenAIEncoder,
    Pace,
)
from offline.retry import RetryPolicy
from tests.fixtures.embedding_server import (
    FAULTS,
    KEY,
    MODEL,
    NATIVE_WIDTH,
    embedding_server,
    vector_of,
)

TEXTS = ["milk", "", "tea and bread", "milk", "age 30", "cheese", "x y z"]
PLAIN = EmbeddingModel(MODEL, "r1", NATIVE_WIDTH, width=40, instruction="")
QUICK = Pace(texts=2, requests=3, retry=RetryPolicy(attempts=3, first_wait_s=0.01))


def _encode(fault: str, key: str = KEY, model: EmbeddingModel = PLAIN) -> NDArray[np.float32]:
    with embedding_server(fault) as url:
        return OpenAIEncoder(Endpoint(url, key, timeout_s=20.0), model, QUICK).encode(TEXTS)


def _expected(width: int, instruction: str = "") -> NDArray[np.float32]:
    rows = np.zeros((len(TEXTS), width), np.float32)
    for row, text in enumerate(TEXTS):
        if text:
            kept = vector_of(instruction + text)[:width]
            rows[row] = kept / np.linalg.norm(kept)
    return rows


@pytest.mark.parametrize(
    "fault", ["", "plain_floats", "backwards", "rate_limited_once", "broken_once", "hung_up_once"]
)
def test_every_text_gets_its_own_vector(fault: str) -> None:
    """Cut to the width and of unit length again, in order, whatever the endpoint's moods."""
    np.testing.assert_allclose(_encode(fault), _expected(40), atol=1e-6)


def test_instruction_stands_before_every_text() -> None:
    """The production model is told its task, and the task is part of its identity."""
    told = EmbeddingModel(MODEL, "r1", NATIVE_WIDTH, width=96)
    np.testing.assert_allclose(_encode("", model=told), _expected(96, INSTRUCTION), atol=1e-6)
    assert told.identity != EmbeddingModel(MODEL, "r1", NATIVE_WIDTH, 96, instruction="").identity


REFUSED = {
    "always_broken": "503 from .*overloaded",
    "refused": "400 from .*the input is too long",
    "other_width": r"bag-of-words at .* gives vectors of \[95\], expected 96",
    "one_missing": "answered 1 vectors, expected one for each of 2",
    "one_twice": "answered 2 vectors, expected one for each of 2",
    "no_json": "answered no vectors: JSON is malformed",
    "no_base64": "answered no vectors: ",
    "zeros": "gives vectors without a direction",
}


@pytest.mark.parametrize(("fault", "reason"), REFUSED.items(), ids=REFUSED)
def test_unusable_answer_is_refused_with_its_reason(fault: str, reason: str) -> None:
    """No vector is made up: the run stops and says what the endpoint did."""
    with pytest.raises(EncoderFailed, match=reason):
        _encode(fault)


def test_every_fault_is_tested() -> None:
    """The server has no fault that nobody looks at."""
    mended = {"rate_limited_once", "broken_once", "hung_up_once", "plain_floats", "backwards"}
    resumed = {"broken_later"}  # by test_embeddings
    assert set(FAULTS) == mended | resumed | set(REFUSED)


def test_wrong_key_is_told_at_once() -> None:
    """An endpoint that refuses everybody alike is not asked again and again."""
    with pytest.raises(EncoderFailed, match=r"401 from .*check the base URL, the key file"):
        _encode("", key="another")


@pytest.mark.parametrize(
    ("width", "native"), [(0, 96), (97, 96), (-1, 96)], ids=["none", "more", "negative"]
)
def test_width_that_the_model_does_not_have_is_refused(width: int, native: int) -> None:
    """Nothing is padded in silence."""
    with pytest.raises(ValueError, match=f"width {width}, expected 1 to {native}"):
        EmbeddingModel(MODEL, "r1", native, width)


def test_identity_tells_all_that_decides_the_vectors() -> None:
    """Another model, revision, pooling, width or instruction is another encoder."""
    known = EmbeddingModel("m", "r", 4096)
    others = [
        EmbeddingModel("n", "r", 4096),
        EmbeddingModel("m", "s", 4096),
        EmbeddingModel("m", "r", 1024),
        EmbeddingModel("m", "r", 4096, 256),
        EmbeddingModel("m", "r", 4096, pooling="mean"),
        EmbeddingModel("m", "r", 4096, instruction="Query: "),
    ]
    assert known.identity.startswith("openai/m@r/last-token/4096-to-512/instruction-")
    assert len({model.identity for model in (known, *others)}) == 7
