"""The WordLlama encoder: unit vectors, offline, the same in any batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.encoder import TextEncoder
from model.wordllama_encoder import WordLlamaEncoder

TEXTS = ["mainly dairy (milk, yogurt)", "age 35-44", "", "cheese; bread and rolls; tea", "   "]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    """The encoder, loaded once."""
    return WordLlamaEncoder()


def test_vectors_are_unit_or_zero(encoder: TextEncoder) -> None:
    """Every text weighs the same, and a text without words weighs nothing."""
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.width)
    assert vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(norms[[0, 1, 3]], 1.0, rtol=1e-6)
    assert norms[2] == 0.0


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(len(TEXTS))), size=st.integers(1, len(TEXTS)))
def test_row_does_not_depend_on_its_batch(
    encoder: TextEncoder, order: list[int], size: int
) -> None:
    """A text encoded alone gets bit for bit the vector it gets among longer ones."""
    whole = encoder.encode(TEXTS)
    chosen = order[:size]
    assert encoder.encode([TEXTS[i] for i in chosen]).tobytes() == whole[chosen].tobytes()


def test_no_texts_give_no_rows(encoder: TextEncoder) -> None:
    """Nothing to encode is no error."""
    assert encoder.encode([]).shape == (0, encoder.width)


def test_near_meanings_are_near(encoder: TextEncoder) -> None:
    """Words of one shelf lie nearer to each other than to another shelf's."""
    yogurt, cheese, battery = encoder.encode(["yogurt milk", "cheese butter", "battery charger"])
    assert yogurt @ cheese > yogurt @ battery


def test_identity_names_content(encoder: TextEncoder) -> None:
    """Two loads agree on who they are; other weights would not."""
    assert encoder.identity == WordLlamaEncoder().identity
    assert encoder.identity.startswith("wordllama/l2_supercat/256/")
