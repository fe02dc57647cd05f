"""The product: aligned groups from training to the store, groups of profiles where asked for."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import offline.aligned_blocks
from model.encoder import EncoderBlock
from model.phrases import READING
from offline.__main__ import main
from offline.artefacts import Store
from offline.groupings import PROFILES
from offline.methods.registry import ALIGNED
from offline.pipeline import Pipeline
from offline.product import Product, ProductCut, choose_grouping
from offline.rules import ConfigError
from offline.writers.settings import WriterSettings
from tests.fixtures.tiny_log import TINY_PRESET, building, shared_folder, tiny_pipeline


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The tiny log by aligned groups, fitted and served."""
    product = tiny_pipeline(tmp_path_factory)
    with building(shared_folder(tmp_path_factory)):
        product.served_cut()
        product.profiles()
    return product


def in_store(product: Product, root: Path, words: list[str]) -> Product:
    """The same product in a store of its own."""
    return Product(Store(root, words.append), product.dataset, TINY_PRESET)


def results(cut: ProductCut) -> dict[str, bytes]:
    """All that later stages read of a cut."""
    named = {
        "embeddings": ("embeddings.npy", "projection.npy"),
        "groups": ("codes.npy", "codebooks.npy"),
        "priors": ("priors.parquet", "depths.npy"),
    }
    return {
        name: (getattr(cut, stage).folder / name).read_bytes()
        for stage, names in named.items()
        for name in names
    }


def test_groups_are_aligned_unless_asked_otherwise(product: Product) -> None:
    """The model that is trained reads the very groups of the fitted cut."""
    assert (product.grouping, product.method) == (ALIGNED, "choirrec_aligned")
    cut = product.fitted_cut()
    assert EncoderBlock.load(cut.embeddings.folder).reading == READING
    assert product.grouped(ALIGNED).groups.digest == cut.groups.digest


def test_the_product_finds_what_the_evidence_made(product: Product) -> None:
    """A model measured as evidence is the one that is released: same artefacts, nothing anew."""
    plain = Pipeline(product.store, product.dataset, product.preset)
    grouped = plain.grouped(ALIGNED)
    cut = product.fitted_cut()
    assert (grouped.groups.digest, grouped.priors.digest) == (cut.groups.digest, cut.priors.digest)
    assert plain.samples(ALIGNED).digest == product.samples(product.grouping).digest


def test_a_served_cut_keeps_encoder_block_and_codebooks(product: Product) -> None:
    """Users move between groups as they buy; what the groups mean stays as it was fitted."""
    fitted, served = product.fitted_cut(), product.served_cut()
    blocks = [EncoderBlock.load(cut.embeddings.folder).digest for cut in (fitted, served)]
    books = [(cut.groups.folder / "codebooks.npy").read_bytes() for cut in (fitted, served)]
    assert blocks[0] == blocks[1]
    assert books[0] == books[1]
    moved = np.load(served.files().codes) != np.load(fitted.files().codes)
    assert moved.any()
    assert not moved.all()


def test_a_cut_of_the_training_moment_repeats_the_fitted_one(product: Product) -> None:
    """By the frozen parts, the same moment gives the same bytes."""
    start = product.tables().schema.split.train_start
    assert results(product.served_cut(start)) == results(product.fitted_cut())


def test_a_moment_outside_the_log_is_refused(product: Product) -> None:
    """Neither groups from before they were fitted, nor from after the log."""
    split = product.tables().schema.split
    for moment in (split.train_start - timedelta(days=1), split.test_end + timedelta(days=1)):
        with pytest.raises(ConfigError, match="where training starts"):
            product.served_cut(moment)


def test_texts_are_written_for_people_alone(product: Product, tmp_path: Path) -> None:
    """No profile is written or embedded on the way to aligned groups; a report has them still."""
    words: list[str] = []
    alone = in_store(product, tmp_path, words)
    alone.fitted_cut()
    assert {path.name for path in tmp_path.iterdir()} == {"events", "aligned", "groups", "priors"}
    told = pq.read_table(alone.profiles().folder / "profiles.parquet")
    assert {path.name for path in tmp_path.iterdir()} >= {"profiles"}
    assert not (tmp_path / "embeddings").exists()
    assert "section_attributes" in told.column_names


def test_groups_of_profiles_are_the_pipelines_own(product: Product) -> None:
    """By choice, model, cuts and texts are those of the profiles' groups."""
    other = Product(product.store, product.dataset, product.preset, PROFILES)
    cut = other.training_cut()
    assert other.method == "choirrec"
    assert other.fitted_cut().embeddings.digest == cut.embeddings.digest
    assert other.profiles().digest == cut.profiles.digest
    assert other.served_cut().groups.digest == other.serving_cut().groups.digest
    assert other.fitted_cut().groups.digest != product.fitted_cut().groups.digest


def test_very_many_users_go_block_by_block(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More users than a block holds: training and serving both read the vectors of blocks."""
    at_once = product.fitted_cut().embeddings.digest
    monkeypatch.setattr(offline.aligned_blocks, "BLOCK_USERS", 150)
    many = in_store(product, tmp_path, [])
    fitted, served = many.fitted_cut(), many.served_cut()
    assert many.grouped(ALIGNED).groups.digest == fitted.groups.digest
    assert fitted.embeddings.digest != at_once
    block = EncoderBlock.load(served.embeddings.folder)
    assert block.digest == EncoderBlock.load(fitted.embeddings.folder).digest
    assert len(np.load(served.files().codes)) == 300


def test_a_language_models_profiles_need_groups_of_profiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody pays for texts that the groups do not read: refused in words, before any work."""
    template, model = WriterSettings(), WriterSettings(writer="local")
    assert choose_grouping(None, template) == choose_grouping("aligned", template) == ALIGNED
    assert choose_grouping("profiles", template) == PROFILES
    assert choose_grouping(None, model) == choose_grouping("profiles", model) == PROFILES
    words = ["build", "--root", str(tmp_path / "var"), "--groups", "aligned", "--writer", "local"]
    assert main(words) == 2
    assert "expected --groups profiles" in capsys.readouterr().err
    assert not (tmp_path / "var").exists()
