"""Embeddings: section texts to user vectors, and the encoder block fitted at the training cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from model.encoder import SECTION_WEIGHTS, EncoderBlock, TextEncoder
from model.whole_file import whole_file
from offline.progress import track_rows
from offline.row_file import RowFile, row_file

FILE_NAME = "embeddings.npy"
_TEXTS = "texts.npy"
_TEXTS_AT_ONCE = 4096
_USERS_AT_ONCE = 16384
_PREFIX = "section_"


def write_embeddings(
    profiles: pa.Table, encoder: TextEncoder, folder: Path, block: EncoderBlock | None = None
) -> EncoderBlock:
    """Encode profiles and write ``embeddings.npy`` and the encoder block.

    Args:
        profiles: ``user_id`` and string columns ``section_<name>``; the schema's metadata holds
            the template version and the profile writer.
        encoder: encodes each distinct text once.
        folder: an existing folder.
        block: the block of the training cut, to embed a later cut; None fits one here.

    Returns:
        The block used. ``embeddings.npy`` is float32 ``[N, W]``, rows in the order of ``profiles``.

    Raises:
        ValueError: when the block was fitted for another template, writer or encoder.
        Exception: whatever the encoder raises; texts that are encoded stay in the folder, and the
            same call goes on from there.

    Source: section 4.2.2 (1).
    """
    if profiles.num_rows == 0:
        raise ValueError("no profiles to embed; expected one row per user")
    if block:
        _check_reuse(block, profiles, encoder)
    texts, index = _distinct_texts(profiles)
    with encoded_texts(texts, encoder, folder) as vectors:
        block = block or fit_block(profiles, encoder, vectors, index)
        _write_vectors(folder, block, vectors, index)
        block.save(folder)
    return block


@contextmanager
def encoded_texts(
    texts: "pa.Array[Any]", encoder: TextEncoder, folder: Path
) -> Iterator[NDArray[np.float32]]:
    """The vectors of texts, kept in a folder until all that is made of them is there.

    Args:
        texts: strings, each distinct one once.
        encoder: encodes those that an earlier block of the same texts left without a vector.
        folder: an existing folder; when the block ends well, nothing of this stays in it.

    Yields:
        float32 ``[T, D]``, read from disk as it is needed; one zero row when there is no text.

    Raises:
        Exception: whatever the encoder raises.
    """
    shape = (len(texts), encoder.width)
    with row_file(folder / _TEXTS, np.float32, shape, _identity(texts, encoder)) as encoded:
        _encode(texts, encoder, encoded)
        yield _mapped(encoded, encoder.width)
    (folder / _TEXTS).unlink()


def fit_block(
    profiles: pa.Table,
    encoder: TextEncoder,
    vectors: NDArray[np.float32],
    index: NDArray[np.int64],
) -> EncoderBlock:
    """Fit the centring of each section over the users that have it.

    Args:
        profiles: names the sections and the template version.
        encoder: gave the vectors.
        vectors: float32 ``[T, D]`` of the T distinct texts.
        index: int64 ``[N, S]``: text of each user's section, -1 = missing.

    Returns:
        The block of this cut.
    """
    names = _section_names(profiles)
    return EncoderBlock(
        template_version=_template_version(profiles),
        encoder_identity=encoder.identity,
        section_names=names,
        section_weights=tuple(SECTION_WEIGHTS[name] for name in names),
        section_means=_section_means(vectors, index),
        profile_writer=_profile_writer(profiles),
    )


def _section_means(vectors: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 ``[S, D]``; each text counts once per user, and a section nobody has is zero."""
    means = np.zeros((index.shape[1], vectors.shape[1]))
    for section, texts in enumerate(index.T):
        users = np.bincount(texts[texts >= 0], minlength=len(vectors))
        for start in range(0, len(vectors), _TEXTS_AT_ONCE):
            rows = slice(start, start + _TEXTS_AT_ONCE)
            means[section] += np.sum(users[rows, None] * vectors[rows].astype(np.float64), axis=0)
        means[section] /= max(1, users.sum())
    return means.astype(np.float32)


def _identity(texts: "pa.Array[Any]", encoder: TextEncoder) -> str:
    """What the texts' vectors depend on, as a few letters."""
    sha = sha256(repr((encoder.identity, encoder.width, len(texts))).encode())
    for buffer in texts.buffers():
        sha.update(buffer or b"")
    return sha.hexdigest()[:16]


def _encode(texts: "pa.Array[Any]", encoder: TextEncoder, encoded: RowFile[np.float32]) -> None:
    """Encode the texts that are not encoded yet, each once, piece by piece."""
    with track_rows("embeddings", len(texts)) as advance:
        advance(encoded.rows)
        while encoded.rows < len(texts):
            piece = texts[encoded.rows : encoded.rows + _TEXTS_AT_ONCE]
            encoded.append(encoder.encode([str(text) for text in piece.to_pylist()]))
            advance(len(piece))


def _mapped(encoded: RowFile[np.float32], width: int) -> NDArray[np.float32]:
    if encoded.rows == 0:
        return np.zeros((1, width), np.float32)
    vectors: NDArray[np.float32] = np.load(encoded.path, mmap_mode="r", allow_pickle=False)
    return vectors


def _distinct_texts(
    profiles: pa.Table,
) -> tuple["pa.Array[Any]", NDArray[np.int64]]:
    names = [f"{_PREFIX}{name}" for name in _section_names(profiles)]
    chunks = [chunk for name in names for chunk in profiles.column(name).chunks]
    encoded = pa.chunked_array(chunks, pa.string()).cast(pa.large_string()).combine_chunks()
    coded = encoded.dictionary_encode()
    index = coded.indices.fill_null(-1).to_numpy().astype(np.int64)
    index = index.reshape(len(names), profiles.num_rows).T
    return coded.dictionary, _without_empty(coded.dictionary, index)


def _without_empty(texts: "pa.Array[Any]", index: NDArray[np.int64]) -> NDArray[np.int64]:
    empty = texts.index("").as_py()
    return np.where(index == empty, -1, index) if empty >= 0 else index


def _write_vectors(
    folder: Path,
    block: EncoderBlock,
    vectors: NDArray[np.float32],
    index: NDArray[np.int64],
) -> None:
    shape = (len(index), block.width)
    with whole_file(folder / FILE_NAME) as partial:
        users = open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(index), _USERS_AT_ONCE):
            texts = index[start : start + _USERS_AT_ONCE]
            users[start : start + _USERS_AT_ONCE] = block.combine(vectors[texts], texts >= 0)
        users.flush()


def _section_names(profiles: pa.Table) -> tuple[str, ...]:
    return tuple(
        name.removeprefix(_PREFIX) for name in profiles.column_names if name.startswith(_PREFIX)
    )


def _template_version(profiles: pa.Table) -> str:
    return (profiles.schema.metadata or {}).get(b"template_version", b"").decode()


def _profile_writer(profiles: pa.Table) -> str:
    return (profiles.schema.metadata or {}).get(b"profile_writer", b"template").decode()


def _check_reuse(block: EncoderBlock, profiles: pa.Table, encoder: TextEncoder) -> None:
    names = _section_names(profiles)
    written = (_template_version(profiles), _profile_writer(profiles))
    found = (*written, encoder.identity, names)
    fitted = (
        block.template_version, block.profile_writer, block.encoder_identity, block.section_names
    )  # fmt: skip
    if found != fitted:
        raise ValueError(
            f"profiles and encoder are {found}, the encoder block was fitted for {fitted};"
            " build the profiles with the block's template, writer and encoder, or fit a new block"
        )
