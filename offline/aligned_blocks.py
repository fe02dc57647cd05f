"""Aligned blocks: aligned vectors of very many users, whose facts never stand in memory at once."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap

from model.encoder import EncoderBlock, TextEncoder
from model.whole_file import whole_file
from offline.alignment import fit_alignment, write_aligned
from offline.embeddings import FILE_NAME, encoded_texts
from offline.events import CanonicalTables
from offline.fact_log import FactLog
from offline.histories import Ints, epoch_s
from offline.one_thread import products_on_one_thread

BLOCK_USERS = 262_144
"""Users whose facts stand in memory at a time, about 7 KiB each (docs/groups.md)."""
SAMPLE_SEED = 0
_PARTS = "parts"
_FITTED = "fitted"


@dataclass(frozen=True, eq=False)
class UserPart(CanonicalTables):
    """Canonical tables as if they held some of the users alone; items stay all."""

    chosen: Ints
    """``[n]``: positions in the users table, increasing."""

    def users(self) -> pa.Table:
        """The chosen users."""
        return super().users().take(self.chosen)

    def purchases(self) -> pa.Table:
        """Their purchases."""
        return self._theirs("purchases")

    def searches(self) -> pa.Table:
        """Their searches."""
        return self._theirs("searches")

    def _theirs(self, name: str) -> pa.Table:
        ids = self.users()["user_id"].combine_chunks()
        return pq.read_table(self.path(name), filters=pc.field("user_id").isin(ids))


def write_aligned_blocks(
    tables: CanonicalTables,
    moment: datetime,
    encoder: TextEncoder,
    folder: Path,
    block: EncoderBlock | None = None,
) -> EncoderBlock:
    """Write what ``write_aligned`` writes, block of users by block of users.

    Args:
        tables: the canonical tables.
        moment: the cut; nothing at or after it is read.
        encoder: encodes each distinct phrase of a block once.
        folder: an existing folder.
        block: the block of the training cut, for a later cut; None fits one here, on a
            sample of ``BLOCK_USERS`` when users are more.

    Returns:
        The encoder block. A user's vector depends on it and on the user alone, so that blocks do
        not show: ``embeddings.npy`` has the bytes that ``write_aligned`` gives with it.

    Raises:
        ValueError: as ``write_aligned``.
        Exception: whatever the encoder raises; blocks that are finished stay in the folder, and
            the same call goes on from there.

    Source: section 4.2.2 (1); docs/groups.md.
    """
    if not needs_blocks(tables):
        return write_aligned(tables, moment, encoder, folder, block)
    users = _count_users(tables)
    parts = folder / _PARTS
    block = block or _fitted(tables, moment, encoder, _made(parts / _FITTED), users)
    places = [
        _part(
            tables,
            moment,
            encoder,
            parts / str(start),
            block,
            np.arange(start, min(users, start + BLOCK_USERS)),
        )
        for start in range(0, users, BLOCK_USERS)
    ]
    _join(places, folder / FILE_NAME, (users, block.width))
    block.save(folder)
    shutil.rmtree(parts)
    return block


def needs_blocks(tables: CanonicalTables) -> bool:
    """Whether the users are more than one block holds."""
    return _count_users(tables) > BLOCK_USERS


def _count_users(tables: CanonicalTables) -> int:
    return int(pq.read_metadata(tables.path("users")).num_rows)


def _fitted(
    tables: CanonicalTables, moment: datetime, encoder: TextEncoder, place: Path, users: int
) -> EncoderBlock:
    """The block of a sample of users, fitted once: what was killed finds it in its place."""
    if not _is_whole(place):
        sample = np.random.default_rng(SAMPLE_SEED).choice(users, BLOCK_USERS, replace=False)
        log = FactLog.open(UserPart(tables.folder, tables.schema, np.sort(sample)))
        phrases = pa.array(log.phrases, pa.large_string())
        with encoded_texts(phrases, encoder, place) as vectors, products_on_one_thread():
            fit_alignment(log, vectors, epoch_s(moment), encoder.identity).save(place)
    return EncoderBlock.load(place)


def _part(
    tables: CanonicalTables,
    moment: datetime,
    encoder: TextEncoder,
    place: Path,
    block: EncoderBlock,
    chosen: Ints,
) -> Path:
    """The folder of the vectors of one block of users; a finished one is found."""
    if not _is_whole(_made(place)):
        write_aligned(UserPart(tables.folder, tables.schema, chosen), moment, encoder, place, block)
    return place


def _join(places: list[Path], path: Path, shape: tuple[int, int]) -> None:
    with whole_file(path) as partial:
        vectors = open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        for number, place in enumerate(places):
            start = number * BLOCK_USERS
            vectors[start : start + BLOCK_USERS] = np.load(place / FILE_NAME, mmap_mode="r")
        vectors.flush()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_whole(place: Path) -> bool:
    """An encoder block is written last."""
    return (place / "encoder.json").is_file()
