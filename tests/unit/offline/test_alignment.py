"""Alignment: users who will buy alike lie close, known by their attributes alone or by more."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from model.encoder import EncoderBlock
from model.phrases import read_phrases
from model.wordllama_encoder import WordLlamaEncoder
from offline.alignment import View, fit_projection, later_purchases, write_aligned
from offline.embeddings import FILE_NAME
from offline.fact_log import FactLog
from offline.histories import epoch_s
from tests.unit.offline.planted_shop import CLUBS, CUT, USERS, club, planted_rows, planted_shop
from tests.unit.offline.small_tables import Rows, at

CLUB = np.array([CLUBS.index(club(user)) for user in range(USERS)])
QUIET = np.arange(USERS) % 3 == 0


@pytest.fixture(scope="module")
def encoder() -> WordLlamaEncoder:
    """The encoder, loaded once."""
    return WordLlamaEncoder()


def aligned(
    encoder: WordLlamaEncoder, folder: Path, rows: Rows | None = None
) -> tuple[NDArray[np.float32], EncoderBlock]:
    """Aligned vectors of the planted shop, and their block."""
    (folder / "out").mkdir(parents=True)
    block = write_aligned(planted_shop(folder / "shop", rows), CUT, encoder, folder / "out")
    return np.load(folder / "out" / FILE_NAME), block


def test_users_who_will_buy_alike_lie_close(encoder: WordLlamaEncoder, tmp_path: Path) -> None:
    """Of users known by attributes alone, the nearest is of the same club; towns do not matter."""
    vectors, _ = aligned(encoder, tmp_path)
    likeness = vectors[QUIET] @ vectors[QUIET].T
    same = CLUB[QUIET][:, None] == CLUB[QUIET][None]
    assert likeness[same].min() > likeness[~same].max()


def test_newcomer_gets_the_vector_of_a_user_known_by_the_same(
    encoder: WordLlamaEncoder, tmp_path: Path
) -> None:
    """Online, attributes alone give bit for bit the vector that offline gives such a user."""
    vectors, block = aligned(encoder, tmp_path)
    rows = planted_rows()
    for user in np.flatnonzero(QUIET)[:8]:
        row = rows["users"][user]
        section, share = read_phrases(encoder, [f"club {row['club']}", f"town {row['town']}"])
        sections = np.zeros((1, *block.section_means.shape), np.float32)
        sections[0, 0] = section
        evidence = np.array([[share, 0, 0]], np.float32)
        assert block.combine(sections, evidence).tobytes() == vectors[[user]].tobytes()


def test_nothing_at_or_after_the_cut_is_read(encoder: WordLlamaEncoder, tmp_path: Path) -> None:
    """Whatever happens from the cut on, vectors and block keep their bytes."""
    rows = planted_rows()
    early = [row for row in rows["purchases"] if row["time"] < CUT]
    assert len(early) < len(rows["purchases"])
    whole, block = aligned(encoder, tmp_path / "whole", rows)
    part, other = aligned(encoder, tmp_path / "part", {**rows, "purchases": early})
    assert part.tobytes() == whole.tobytes()
    assert other.digest == block.digest


def test_block_serves_a_later_cut(encoder: WordLlamaEncoder, tmp_path: Path) -> None:
    """Users of whom nothing new is known keep their vectors under the frozen block."""
    vectors, block = aligned(encoder, tmp_path)
    shop = planted_shop(tmp_path / "again")
    used = write_aligned(shop, at(21, 1), encoder, tmp_path, EncoderBlock.load(tmp_path / "out"))
    later = np.load(tmp_path / FILE_NAME)
    bought = {row["user_id"] for row in planted_rows()["purchases"] if row["time"] < at(21, 1)}
    unknown = np.array([f"u{user:03}" not in bought for user in range(USERS)])
    assert used.digest == block.digest
    assert unknown.any()
    assert later[unknown].tobytes() == vectors[unknown].tobytes()


def test_block_of_another_reading_is_refused(encoder: WordLlamaEncoder, tmp_path: Path) -> None:
    """A block fitted for texts never reads phrases."""
    means = np.zeros((1, encoder.width), np.float32)
    other = EncoderBlock("template-1", encoder.identity, ("attributes",), (1.0,), means)
    shop = planted_shop(tmp_path / "shop")
    with pytest.raises(ValueError, match="fitted for"):
        write_aligned(shop, CUT, encoder, tmp_path, other)
    assert not (tmp_path / FILE_NAME).exists()


def test_history_without_shared_purchases_is_refused(
    encoder: WordLlamaEncoder, tmp_path: Path
) -> None:
    """Where there is nothing to learn from, the error says what is missing and what to do."""
    rows = planted_rows()
    late = [row for row in rows["purchases"] if row["time"] >= CUT]
    with pytest.raises(ValueError, match="0 users share a purchase"):
        aligned(encoder, tmp_path, {**rows, "purchases": late})


def test_rare_purchases_join_more_than_frequent_ones(tmp_path: Path) -> None:
    """Two users who share what few bought are more alike than two who share what all bought."""
    rows = planted_rows()
    rows["items"] = rows["items"][:3]
    for item, aisle in zip(rows["items"], ("fruit", "tools", "tents"), strict=True):
        item |= {"aisle": aisle, "brand": None}
    buys = [(user, "i00") for user in range(20)] + [(0, "i01"), (1, "i01"), (2, "i02")]
    rows["purchases"] = [
        {"user_id": f"u{user:03}", "item_id": item, "time": at(5)} for user, item in sorted(buys)
    ]
    log = FactLog.open(planted_shop(tmp_path, rows))
    later = later_purchases(log, epoch_s(at(5)), epoch_s(CUT)).toarray()
    likeness = later @ later.T
    assert likeness[0, 1] == pytest.approx(1)
    assert not later[2:].any(), "what everybody bought, or one alone, joins nobody"
    assert not later_purchases(log, epoch_s(at(6)), epoch_s(CUT)).nnz


def test_a_failure_costs_no_phrase(
    encoder: WordLlamaEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phrases have their vectors once, whatever fails behind them; nothing of it stays."""

    def fail(*_: object) -> None:
        raise OSError("no space left")

    whole, _ = aligned(encoder, tmp_path)
    folder, shop = tmp_path / "again", planted_shop(tmp_path / "twin")
    folder.mkdir()
    with monkeypatch.context() as full:
        full.setattr(EncoderBlock, "save", fail)
        with pytest.raises(OSError, match="no space left"):
            write_aligned(shop, CUT, encoder, folder)
    mute = WordLlamaEncoder()
    monkeypatch.setattr(mute, "encode", fail)
    write_aligned(shop, CUT, mute, folder)
    assert np.load(folder / FILE_NAME).tobytes() == whole.tobytes()
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_projection_minimises_the_spectral_contrastive_loss() -> None:
    """No small change of the projection tells alike users better, so there is nothing to tune."""
    random = np.random.default_rng(4)
    profile = random.normal(size=(400, 6))
    later = profile[:, :3] @ random.normal(size=(3, 10)) + random.normal(size=(400, 10))
    profile -= profile.mean(axis=0)
    later -= later.mean(axis=0)
    found = fit_projection([View(profile, sparse.csr_matrix(later))], users=10**9, width=2)

    def loss(projection: NDArray[np.float64]) -> float:
        """Of all pairs: -2 (f . f) (b . b) + (f . f)^2, by its matrices."""
        told = profile @ projection
        alike = told.T @ later / len(told)
        spread = told.T @ told / len(told)
        return float(-2 * np.square(alike).sum() + np.square(spread).sum())

    best = loss(found)
    for seed in range(20):
        step = 1e-3 * np.random.default_rng(seed).normal(size=found.shape)
        assert loss(found + step) >= best
