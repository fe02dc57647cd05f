"""Embeddings: each distinct text encoded once, centred at the training cut, rows as profiles."""

import errno
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from model.encoder import EncoderBlock, TextEncoder
from model.wordllama_encoder import WordLlamaEncoder
from offline.embeddings import write_embeddings
from offline.openai_client import Endpoint
from offline.openai_encoder import EmbeddingModel, EncoderFailed, OpenAIEncoder, Pace
from offline.retry import RetryPolicy
from tests.fixtures.embedding_server import KEY, LATER, MODEL, NATIVE_WIDTH, embedding_server

ROWS = [
    ("u1", "age 30-39", "mainly dairy", "", "", "shoes"),
    ("u2", "age 30-39", "", "mainly dairy", "", ""),
    ("u3", "", "", "", "", ""),
    ("u4", "age 50-59", "mainly bakery", "", "mainly dairy", ""),
    ("u5", "", "mainly bakery", "", "", ""),
]


class CountingEncoder:
    """The real encoder, remembering what it was asked."""

    def __init__(self, inner: TextEncoder) -> None:
        self._inner = inner
        self.asked: list[str] = []
        self.identity = inner.identity
        self.width = inner.width

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode and remember."""
        self.asked += texts
        return self._inner.encode(texts)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    """The encoder, loaded once."""
    return WordLlamaEncoder()


def profiles(rows: Sequence[tuple[str, ...]] = ROWS, version: str = "template-1") -> pa.Table:
    """A profiles table."""
    names = ["user_id"] + [
        f"section_{name}" for name in ("attributes", "recent", "medium", "long", "queries")
    ]
    schema = pa.schema(
        [(name, pa.string()) for name in names], metadata={"template_version": version}
    )
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)


def embed(
    encoder: TextEncoder,
    folder: Path,
    table: pa.Table | None = None,
    block: EncoderBlock | None = None,
) -> tuple[NDArray[np.float32], EncoderBlock]:
    """Run the stage and read its result."""
    used = write_embeddings(profiles() if table is None else table, encoder, folder, block)
    return np.load(folder / "embeddings.npy"), used


def test_each_distinct_text_is_encoded_once(encoder: TextEncoder, tmp_path: Path) -> None:
    """A text that a million users share costs one call, and an empty one is no fact."""
    counting = CountingEncoder(encoder)
    embed(counting, tmp_path)
    assert sorted(text for text in counting.asked if text) == [
        "age 30-39", "age 50-59", "mainly bakery", "mainly dairy", "shoes",
    ]  # fmt: skip
    assert counting.asked.count("") <= 1


def test_vectors_are_those_of_the_block(encoder: TextEncoder, tmp_path: Path) -> None:
    """Offline vectors are exactly what a service makes of the same profile, one user at a time."""
    vectors, block = embed(encoder, tmp_path)
    for row, (_, *texts) in zip(vectors, ROWS, strict=True):
        present = np.array([[bool(text) for text in texts]])
        alone = block.combine(encoder.encode(texts)[None], present)
        assert alone.tobytes() == row.tobytes()


def test_user_without_facts_is_zero(encoder: TextEncoder, tmp_path: Path) -> None:
    """Nothing known, no direction; everyone else has unit length."""
    vectors, _ = embed(encoder, tmp_path)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0, 1, 1], rtol=1e-6)


def test_sections_are_centred_over_the_users_that_have_them(
    encoder: TextEncoder, tmp_path: Path
) -> None:
    """A mean counts a text once per user that has it, and leaves out users that lack it."""
    _, block = embed(encoder, tmp_path)
    dairy, bakery = encoder.encode(["mainly dairy", "mainly bakery"])
    recent = block.section_names.index("recent")
    np.testing.assert_allclose(block.section_means[recent], (dairy + 2 * bakery) / 3, atol=1e-6)


def test_block_is_reused_at_a_later_cut(encoder: TextEncoder, tmp_path: Path) -> None:
    """A user whose profile did not change keeps its vector, whatever became of the others."""
    first, block = embed(encoder, tmp_path)
    later, used = embed(encoder, tmp_path, profiles(ROWS[3:] + ROWS[:1]), block)
    assert used.digest == block.digest == EncoderBlock.load(tmp_path).digest
    assert later.tobytes() == first[[3, 4, 0]].tobytes()


def test_block_of_another_template_is_refused(encoder: TextEncoder, tmp_path: Path) -> None:
    """Texts of another template never pass through a block fitted for this one."""
    _, block = embed(encoder, tmp_path)
    (tmp_path / "embeddings.npy").unlink()
    with pytest.raises(ValueError, match="template-2"):
        embed(encoder, tmp_path, profiles(version="template-2"), block)
    assert not (tmp_path / "embeddings.npy").exists()


def test_equal_profiles_give_equal_bytes(encoder: TextEncoder, tmp_path: Path) -> None:
    """Two runs agree bit for bit and leave nothing else behind."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        embed(encoder, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["embeddings.npy", "encoder.json", "section_means.npy"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_blocks_of_rows_do_not_show(
    encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Working on few users at a time changes no byte."""
    whole, _ = embed(encoder, tmp_path)
    monkeypatch.setattr("offline.embeddings._USERS_AT_ONCE", 2)
    monkeypatch.setattr("offline.embeddings._TEXTS_AT_ONCE", 2)
    assert embed(encoder, tmp_path)[0].tobytes() == whole.tobytes()


def endpoint(url: str) -> OpenAIEncoder:
    """An encoder behind an endpoint, one text a request."""
    pace = Pace(texts=1, requests=1, retry=RetryPolicy(attempts=2, first_wait_s=0.01))
    model = EmbeddingModel(MODEL, "1", NATIVE_WIDTH, width=64, instruction="")
    return OpenAIEncoder(Endpoint(url, KEY), model, pace)


def test_a_failed_endpoint_costs_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again after the endpoint broke down, texts that have their vector are not sent again."""
    monkeypatch.setattr("offline.embeddings._TEXTS_AT_ONCE", 1)
    (tmp_path / "whole").mkdir()
    (tmp_path / "failed").mkdir()
    with embedding_server() as url:
        whole, _ = embed(endpoint(url), tmp_path / "whole")
    with embedding_server("broken_later") as url, pytest.raises(EncoderFailed, match="503"):
        embed(endpoint(url), tmp_path / "failed")
    assert not (tmp_path / "failed" / "embeddings.npy").exists()
    with embedding_server() as url:
        counting = CountingEncoder(endpoint(url))
        resumed, _ = embed(counting, tmp_path / "failed")
    assert resumed.tobytes() == whole.tobytes()
    assert len([text for text in counting.asked if text]) == 5 - LATER
    files = sorted(path.name for path in (tmp_path / "failed").iterdir())
    assert files == ["embeddings.npy", "encoder.json", "section_means.npy"]


@pytest.mark.parametrize("step", ["_write_vectors", "EncoderBlock.save"])
def test_a_full_disk_costs_no_text(
    step: str, encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever cannot be written after the texts, the next run does not pay for them again."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(f"offline.embeddings.{step}", fail)
        with pytest.raises(OSError, match="No space left"):
            embed(encoder, tmp_path)
    counting = CountingEncoder(encoder)
    embed(counting, tmp_path)
    assert counting.asked == []
    assert len(list(tmp_path.iterdir())) == 3


def test_vectors_of_other_texts_are_not_used(encoder: TextEncoder, tmp_path: Path) -> None:
    """After a failure, changed profiles are encoded from the start."""
    earlier = profiles([("u1", "age 20-29", "", "", "", "")])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("offline.embeddings._write_vectors", None)
        with pytest.raises(TypeError):
            embed(encoder, tmp_path, earlier)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    vectors, _ = embed(encoder, tmp_path)
    assert len(vectors) == len(ROWS)
    assert len(list(tmp_path.iterdir())) == 3


def test_nobody_known_has_no_direction(encoder: TextEncoder, tmp_path: Path) -> None:
    """Users of whom nothing is known at all are embedded, as zero vectors."""
    vectors, _ = embed(encoder, tmp_path, profiles([("u1", "", "", "", "", "")] * 2))
    assert not vectors.any()
    nothing = pa.Table.from_pylist([{"user_id": "u1"}], profiles().schema)
    assert not embed(encoder, tmp_path, nothing)[0].any()


def test_no_profiles_are_refused(encoder: TextEncoder, tmp_path: Path) -> None:
    """An empty users table is an error that says what was expected."""
    with pytest.raises(ValueError, match="one row per user"):
        embed(encoder, tmp_path, profiles([]))
