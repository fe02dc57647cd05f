"""Aligned blocks: very many users get the vectors that they would get alone, in bounded memory."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import offline.aligned_blocks
from model.encoder import EncoderBlock
from model.wordllama_encoder import WordLlamaEncoder
from offline.aligned_blocks import UserPart, write_aligned_blocks
from offline.alignment import write_aligned
from offline.embeddings import FILE_NAME
from offline.events import CanonicalTables
from tests.unit.offline.planted_shop import CUT, USERS, planted_shop
from tests.unit.offline.small_tables import at


@pytest.fixture(scope="module")
def encoder() -> WordLlamaEncoder:
    """The encoder, loaded once."""
    return WordLlamaEncoder()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CanonicalTables:
    """A shop of 240 users."""
    return planted_shop(tmp_path_factory.mktemp("shop") / "tables")


def set_block(patch: pytest.MonkeyPatch, users: int) -> None:
    """Let so many users be a block."""
    patch.setattr(offline.aligned_blocks, "BLOCK_USERS", users)


def vectors(folder: Path) -> NDArray[np.float32]:
    """What was written."""
    found: NDArray[np.float32] = np.load(folder / FILE_NAME)
    return found


def made(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir()
    return folder


@pytest.mark.parametrize("users", [7, 100, 239, 240, 1000])
def test_blocks_do_not_show(
    users: int,
    encoder: WordLlamaEncoder,
    shop: CanonicalTables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a frozen encoder block, blocks of any size give the bytes of all users at once."""
    whole, parts, later = (made(tmp_path / name) for name in ("whole", "parts", "later"))
    block = write_aligned(shop, CUT, encoder, whole)
    write_aligned(shop, at(23), encoder, later, block)
    set_block(monkeypatch, users)
    assert write_aligned_blocks(shop, at(23), encoder, parts, block).digest == block.digest
    assert vectors(parts).tobytes() == vectors(later).tobytes()
    assert EncoderBlock.load(parts).digest == block.digest
    assert {path.name for path in parts.iterdir()} == {path.name for path in whole.iterdir()}


def test_few_users_are_fitted_as_ever(
    encoder: WordLlamaEncoder, shop: CanonicalTables, tmp_path: Path
) -> None:
    """Where one block holds all users, nothing differs from alignment without blocks."""
    whole, parts = made(tmp_path / "whole"), made(tmp_path / "parts")
    block = write_aligned(shop, CUT, encoder, whole)
    assert write_aligned_blocks(shop, CUT, encoder, parts).digest == block.digest
    assert vectors(parts).tobytes() == vectors(whole).tobytes()


def test_many_users_are_fitted_on_a_part_of_them(
    encoder: WordLlamaEncoder,
    shop: CanonicalTables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The block of a sample of users lays all 240 out by what they will buy."""
    set_block(monkeypatch, 120)
    block = write_aligned_blocks(shop, CUT, encoder, tmp_path)
    assert block.digest != write_aligned(shop, CUT, encoder, made(tmp_path / "whole")).digest
    found, club = vectors(tmp_path), np.arange(USERS) % 4
    quiet = np.arange(USERS) % 3 == 0
    likeness = found[quiet] @ found[quiet].T
    same = club[quiet][:, None] == club[quiet][None]
    assert likeness[same].min() > likeness[~same].max()


def test_a_part_holds_the_events_of_its_users_alone(shop: CanonicalTables) -> None:
    """Purchases of other users are not even read; items stay all."""
    part = UserPart(shop.folder, shop.schema, np.arange(10, 20))
    ids = part.users()["user_id"].to_pylist()
    assert ids == shop.users()["user_id"].to_pylist()[10:20]
    bought = [row for row in shop.purchases().to_pylist() if row["user_id"] in ids]
    assert part.purchases().to_pylist() == bought
    assert part.searches().num_rows == 0
    assert part.items() == shop.items()


def test_a_failure_costs_no_finished_block(
    encoder: WordLlamaEncoder,
    shop: CanonicalTables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that failed in its second block goes on there, to equal bytes."""
    set_block(monkeypatch, 120)
    whole, again = made(tmp_path / "whole"), made(tmp_path / "again")
    write_aligned_blocks(shop, CUT, encoder, whole)
    asked: list[int] = []

    def failing(tables: UserPart, *rest: object) -> EncoderBlock:
        asked.append(int(tables.chosen[0]))
        if len(asked) == 2:
            raise OSError("no space left")
        return write_aligned(tables, *rest)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(offline.aligned_blocks, "write_aligned", failing)
    with pytest.raises(OSError, match="no space left"):
        write_aligned_blocks(shop, CUT, encoder, again)
    assert not (again / FILE_NAME).exists()
    write_aligned_blocks(shop, CUT, encoder, again)
    assert asked == [0, 120, 120]
    assert vectors(again).tobytes() == vectors(whole).tobytes()
    assert not (again / "parts").exists()
