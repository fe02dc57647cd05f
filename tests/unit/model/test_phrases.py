"""Phrases: equal phrases give equal section vectors, alone or in any batch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.phrases import PhraseLists, evidence, read_phrases

USERS, PHRASES, WIDTH = 7, 9, 5
VECTORS = np.random.default_rng(3).normal(size=(PHRASES, WIDTH)).astype(np.float32)

Entry = tuple[int, int, float]
entries = st.lists(
    st.tuples(
        st.integers(0, USERS - 1), st.integers(0, PHRASES - 1), st.sampled_from([1.0, 1.3, 2.0])
    ),
    max_size=40,
)


def lists(told: list[Entry], users: int = USERS) -> PhraseLists:
    """Lists of a few users; every entry is one fact of its weight."""
    user = np.array([entry[0] for entry in told], np.int64)
    phrase = np.array([entry[1] for entry in told], np.int64)
    weight = np.array([entry[2] for entry in told], np.float64)
    facts = np.bincount(user, weight, users).astype(np.float64)
    return PhraseLists.build(user, phrase, weight, facts)


class Alphabet:
    """An encoder that knows the phrases "0" to "8"."""

    identity = "alphabet"
    width = WIDTH

    def encode(self, texts: object) -> NDArray[np.float32]:
        """Vectors of the phrases."""
        assert isinstance(texts, list)
        return VECTORS[[int(text) for text in texts]]


@given(told=entries)
def test_section_is_the_mean_of_its_phrases(told: list[Entry]) -> None:
    """What a user did twice counts twice, and how much a user did does not stretch the vector."""
    section, share = lists(told).read(VECTORS)
    for user in range(USERS):
        own = [entry for entry in told if entry[0] == user]
        total = sum(entry[2] for entry in own)
        expected = sum((entry[2] * VECTORS[entry[1]] for entry in own), np.zeros(WIDTH))
        np.testing.assert_allclose(section[user], expected / max(total, 1e-9), atol=1e-5)
        assert (share[user] > 0) == bool(own)


@given(told=entries, seed=st.integers(0, 99))
def test_order_and_batch_do_not_show(told: list[Entry], seed: int) -> None:
    """A user's section vector is bit for bit the same, whoever is read beside it."""
    random = np.random.default_rng(seed)
    made = lists(told)
    section, share = made.read(VECTORS)
    shuffled = [told[place] for place in random.permutation(len(told))]
    again, _ = lists(shuffled).read(VECTORS)
    assert again.tobytes() == section.tobytes()
    for users in (random.permutation(USERS), random.integers(0, USERS, 3), np.arange(0)):
        part, part_share = made.take(users).read(VECTORS)
        assert part.tobytes() == section[users].tobytes()
        assert part_share.tobytes() == share[users].tobytes()


@given(phrases=st.lists(st.integers(0, PHRASES - 1), min_size=1, max_size=6))
def test_one_user_alone_is_read_as_among_others(phrases: list[int]) -> None:
    """A newcomer's phrases give bit for bit what they give offline, in any order."""
    made = lists([(2, phrase, 1.0) for phrase in phrases])
    section, share = made.read(VECTORS)
    alone, alone_share = read_phrases(Alphabet(), [str(phrase) for phrase in phrases])
    assert alone.tobytes() == section[2].tobytes()
    assert np.float32(alone_share) == share[2]


def test_evidence_grows_with_facts_and_never_is_certainty() -> None:
    """Nothing known counts nothing, three facts half, very many nearly all."""
    np.testing.assert_allclose(evidence(np.array([0.0, 3.0, 3e6])), [0, 0.5, 1], atol=1e-5)
