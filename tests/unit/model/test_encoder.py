"""The encoder block: sections centred, weighted and summed, the same in any batch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.encoder import EncoderBlock

WIDTH = 24


def block(projected: bool = False, normalise: bool = True) -> EncoderBlock:
    """A block of three sections with weights 2, 1 and 0.5."""
    random = np.random.default_rng(5)
    return EncoderBlock(
        template_version="template-1",
        encoder_identity="test/1",
        section_names=("attributes", "recent", "queries"),
        section_weights=(2.0, 1.0, 0.5),
        section_means=random.normal(size=(3, WIDTH)).astype(np.float32),
        projection=random.normal(size=(3, WIDTH, 7)).astype(np.float32) if projected else None,
        normalise=normalise,
    )


def sections(rows: int, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Random section vectors and presence."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, 3, WIDTH)).astype(np.float32)
    return vectors, random.random((rows, 3)) < 0.6


def test_sum_is_of_centred_weighted_sections() -> None:
    """A user vector is what its sections differ from the average user, by weight."""
    made = block(normalise=False)
    vectors, _ = sections(4)
    centred = vectors - made.section_means
    expected = 2.0 * centred[:, 0] + 1.0 * centred[:, 1] + 0.5 * centred[:, 2]
    found = made.combine(vectors, np.ones((4, 3), dtype=bool))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_absent_sections_add_nothing() -> None:
    """What is missing does not define a group: absent vectors are not even read."""
    vectors, present = sections(50)
    spoiled = vectors.copy()
    spoiled[~present] = np.nan
    np.testing.assert_array_equal(
        block().combine(spoiled, present), block().combine(vectors, present)
    )


def test_projection_is_a_sum_over_sections() -> None:
    """Every section goes through its own part of the projection, so any of them may be missing."""
    made = replace(block(projected=True), normalise=False)
    vectors, present = sections(20)
    assert made.projection is not None
    parts = [
        weight * (vectors[:, place] - made.section_means[place]) @ made.projection[place]
        for place, weight in enumerate(made.section_weights)
    ]
    expected = sum(part * present[:, [place]] for place, part in enumerate(parts))
    np.testing.assert_allclose(made.combine(vectors, present), expected, rtol=1e-4, atol=1e-4)


def test_little_evidence_counts_little() -> None:
    """A section known by half moves a user half as far from the average."""
    made = replace(block(), normalise=False)
    vectors, _ = sections(5)
    whole = made.combine(vectors, np.ones((5, 3), np.float32))
    half = made.combine(vectors, np.full((5, 3), 0.5, np.float32))
    np.testing.assert_allclose(half, whole / 2, rtol=1e-6)
    assert whole.tobytes() == made.combine(vectors, np.ones((5, 3), bool)).tobytes()


def test_block_from_before_readings_is_read_as_texts(tmp_path: Path) -> None:
    """A bundle written before there was a choice keeps its feature contract."""
    made = block()
    made.save(tmp_path)
    assert "reading" not in json.loads((tmp_path / "encoder.json").read_text())
    assert EncoderBlock.load(tmp_path).reading == "texts"
    phrases = replace(made, reading="phrases-1")
    phrases.save(tmp_path)
    assert EncoderBlock.load(tmp_path).reading == "phrases-1"


def test_user_without_sections_is_zero() -> None:
    """A user of whom nothing is known has no direction, and so no group."""
    vectors, _ = sections(2)
    assert not block().combine(vectors, np.zeros((2, 3), dtype=bool)).any()


def test_average_user_is_zero() -> None:
    """A user exactly like the average has nothing that tells it apart."""
    made = block()
    vectors = made.section_means[None]
    assert not made.combine(vectors, np.ones((1, 3), dtype=bool)).any()


def test_vectors_have_unit_length() -> None:
    """User vectors are comparable: all are of length one, or zero."""
    vectors, present = sections(60)
    norms = np.linalg.norm(block().combine(vectors, present), axis=1)
    np.testing.assert_allclose(norms[present.any(axis=1)], 1.0, rtol=1e-6)
    assert not norms[~present.any(axis=1)].any()


@pytest.mark.parametrize("projected", [False, True])
@given(rows=st.integers(1, 40), cut=st.integers(0, 40))
def test_row_does_not_depend_on_its_batch(projected: bool, rows: int, cut: int) -> None:
    """A newcomer encoded alone gets bit for bit the vector it would get among others."""
    made = block(projected)
    vectors, present = sections(rows, seed=rows)
    whole = made.combine(vectors, present)
    parts = [made.combine(vectors[part], present[part]) for part in (slice(cut), slice(cut, None))]
    alone = [made.combine(vectors[[row]], present[[row]]) for row in range(rows)]
    assert whole.tobytes() == np.concatenate(parts).tobytes() == np.concatenate(alone).tobytes()


@pytest.mark.parametrize("projected", [False, True])
def test_saved_block_is_the_same_block(tmp_path: Path, projected: bool) -> None:
    """A block read back has the digest and gives the bytes of the one that was saved."""
    made = block(projected)
    made.save(tmp_path)
    read = EncoderBlock.load(tmp_path)
    assert read.digest == made.digest
    assert read.width == made.width == (7 if projected else WIDTH)
    assert read.combine(*sections(9)).tobytes() == made.combine(*sections(9)).tobytes()


def test_saving_twice_gives_equal_bytes(tmp_path: Path) -> None:
    """Equal blocks make equal files."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        block(projected=True).save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["encoder.json", "projection.npy", "section_means.npy"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"template_version": "template-2"},
        {"encoder_identity": "test/2"},
        {"section_names": ("attributes", "medium", "queries")},
        {"section_weights": (2.0, 1.0, 0.4)},
        {"section_means": np.zeros((3, WIDTH), dtype=np.float32)},
        {"projection": np.ones((3, WIDTH, 2), dtype=np.float32)},
        {"normalise": False},
        {"reading": "phrases-1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_tells_any_change(change: dict[str, Any]) -> None:
    """Whatever would change a user vector changes the feature contract."""
    assert replace(block(), **change).digest != block().digest


def test_changed_array_is_refused(tmp_path: Path) -> None:
    """Means that were exchanged after saving are noticed when loading."""
    block().save(tmp_path)
    np.save(tmp_path / "section_means.npy", np.zeros((3, WIDTH), dtype=np.float32))
    with pytest.raises(ValueError, match="changed after it was saved"):
        EncoderBlock.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"digest": "x"}', '{"projection": '])
def test_malformed_settings_are_refused(tmp_path: Path, text: str) -> None:
    """A file that is no encoder block gives one kind of error."""
    block().save(tmp_path)
    (tmp_path / "encoder.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011
        EncoderBlock.load(tmp_path)


def test_settings_are_readable(tmp_path: Path) -> None:
    """A person can read from the file which template and encoder a bundle stands on."""
    block().save(tmp_path)
    document = json.loads((tmp_path / "encoder.json").read_text())
    assert document["template_version"] == "template-1"
    assert document["section_weights"] == [2.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"section_weights": (1.0,)}, "1 section weights for 3 sections"),
        ({"section_means": np.zeros((2, WIDTH), dtype=np.float32)}, r"expected float32 \[3"),
        ({"section_means": np.zeros((3, WIDTH))}, "float64"),
        ({"section_means": np.full((3, 2), np.nan, dtype=np.float32)}, "not finite"),
        ({"projection": np.zeros((3, 2), dtype=np.float32)}, "projection"),
        ({"projection": np.zeros((3, WIDTH + 1, 2), dtype=np.float32)}, "projection"),
        ({"projection": np.full((3, WIDTH, 2), np.inf, dtype=np.float32)}, "not finite"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    """A block of parts that do not belong together cannot be made."""
    with pytest.raises(ValueError, match=message):
        replace(block(), **change)


def test_wrong_shapes_are_refused() -> None:
    """Section vectors of another encoder or another number of sections are named."""
    with pytest.raises(ValueError, match=r"expected \(2, 3, 24\)"):
        block().combine(np.zeros((2, 4, WIDTH), dtype=np.float32), np.ones((2, 4), dtype=bool))
