"""Cuts: a generation knows nothing from its own second on, and keeps what was fitted before it."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from model.encoder import EncoderBlock
from offline.artefacts import Artefact, Store
from offline.cuts import Cut, Cuts
from offline.encoders import PREFIX, choose_encoder
from offline.histories import epoch_s
from offline.pipeline import Pipeline
from tests.fixtures.embedding_server import KEY, MODEL, NATIVE_WIDTH, embedding_server
from tests.fixtures.tiny_log import TINY_PRESET, building, shared_folder, tiny_pipeline

MS = timedelta(milliseconds=1)
RESULTS = {
    "embeddings": ("embeddings.npy", "section_means.npy"),
    "groups": ("codes.npy", "codebooks.npy"),
    "priors": ("priors.parquet", "depths.npy"),
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The tiny log as canonical tables."""
    pipeline = tiny_pipeline(tmp_path_factory)
    with building(shared_folder(tmp_path_factory)):
        pipeline.training_cut()
    return pipeline


@pytest.fixture(scope="module")
def moment(pipeline: Pipeline) -> datetime:
    """A moment inside a second in which somebody bought something."""
    times = pipeline.tables().purchases()["time"]
    busy = times[len(times) // 2].as_py()
    assert isinstance(busy, datetime)
    return busy.replace(microsecond=0) + 500 * MS


def results(cut: Cut) -> dict[str, bytes]:
    """All that later stages read of a cut."""
    return {
        name: (getattr(cut, stage).folder / name).read_bytes()
        for stage, names in RESULTS.items()
        for name in names
    }


def cut_of(events: Artefact, moment: datetime, store: Path, fitted: Cut | None = None) -> Cut:
    """The cut of canonical tables, made in a store of its own."""
    return Cuts(Store(store, lambda _: None), events, TINY_PRESET).build(moment, fitted)


def changed(events: Artefact, folder: Path, end: datetime, keep: bool) -> Artefact:
    """The tables without events from ``end`` on, or with one more purchase just before it."""
    shutil.copytree(events.folder, folder)
    for name in ("purchases", "searches", "clicks"):
        table = pq.read_table(folder / f"{name}.parquet")
        if keep and name == "purchases":
            extra = table.slice(0, 1).set_column(
                2, "time", pa.array([end - MS], table.schema.field("time").type)
            )
            table = pa.concat_tables([table, extra])
        elif not keep:
            table = table.filter(pc.less(table["time"], pa.scalar(end, pa.timestamp("ms"))))
        pq.write_table(table, folder / f"{name}.parquet")
    return Artefact("events", f"{folder.name}", folder)


def test_nothing_from_the_cuts_second_on_is_seen(
    pipeline: Pipeline, moment: datetime, tmp_path: Path
) -> None:
    """Without all later events a generation is the same bytes, also when cut inside a second."""
    events = pipeline.events()
    early = changed(events, tmp_path / "early", moment.replace(microsecond=0), keep=False)
    whole = cut_of(events, moment, tmp_path / "a")
    assert results(whole) == results(cut_of(early, moment, tmp_path / "b"))
    assert whole.as_of_s == epoch_s(moment)


def test_a_planted_event_before_the_cut_is_seen(
    pipeline: Pipeline, moment: datetime, tmp_path: Path
) -> None:
    """The comparison above is no formality: one purchase just before the cut shows."""
    events, second = pipeline.events(), moment.replace(microsecond=0)
    more = changed(events, tmp_path / "more", second, keep=True)
    found = results(cut_of(more, moment, tmp_path / "a"))
    assert (
        found["priors.parquet"] != results(cut_of(events, moment, tmp_path / "b"))["priors.parquet"]
    )


def test_a_later_cut_keeps_codebooks_and_encoder_block(pipeline: Pipeline, tmp_path: Path) -> None:
    """Users move between groups as they change; the groups themselves stay what they were."""
    fitted = pipeline.training_cut()
    moment = pipeline.tables().schema.split.test_start
    store = tmp_path / "artefacts"
    frozen = cut_of(pipeline.events(), moment, store, fitted)
    fresh = cut_of(pipeline.events(), moment, store)
    for stage, name in (("groups", "codebooks.npy"), ("embeddings", "section_means.npy")):
        first, second, third = (
            (getattr(cut, stage).folder / name).read_bytes() for cut in (fitted, frozen, fresh)
        )
        assert first == second != third
    moved = np.load(frozen.files().codes) != np.load(fitted.files().codes)
    assert moved.any()
    assert not moved.all()


def test_two_cuts_of_one_moment_are_equal_bytes(pipeline: Pipeline, tmp_path: Path) -> None:
    """Whoever builds a generation again, in whatever place, gets the same one."""
    moment = pipeline.tables().schema.split.train_start
    again = cut_of(pipeline.events(), moment, tmp_path)
    assert results(again) == results(pipeline.training_cut())
    assert again.priors.digest == pipeline.training_cut().priors.digest


def test_the_chosen_encoder_embeds_and_is_told(pipeline: Pipeline, tmp_path: Path) -> None:
    """Another encoder makes other vectors, says so in its block, and cannot go on with the old."""
    start = pipeline.tables().schema.split.train_start
    given = {"MODEL": MODEL, "REVISION": "1", "NATIVE_WIDTH": str(NATIVE_WIDTH), "WIDTH": "24"}
    (tmp_path / "key").write_text(KEY)
    with embedding_server() as url:
        given |= {"BASE_URL": url, "KEY_FILE": str(tmp_path / "key")}
        chosen = choose_encoder("openai", {PREFIX + name: text for name, text in given.items()})
        store = Store(tmp_path / "store", lambda _: None)
        cuts = Cuts(store, pipeline.events(), TINY_PRESET, encoder=chosen)
        cut = cuts.build(start)
        with pytest.raises(ValueError, match="the encoder block was fitted for"):
            cuts.build(start, pipeline.training_cut())
    block = EncoderBlock.load(cut.embeddings.folder)
    assert (block.encoder_identity, block.width) == (chosen.decides, 24)
    assert cut.embeddings.digest != pipeline.training_cut().embeddings.digest
