"""Groups from a language model's profiles: the same way as from the template's, never mixed."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.encoder import EncoderBlock
from model.profile_text import SECTIONS
from offline import artefacts
from offline.__main__ import main
from offline.artefacts import Store
from offline.pipeline import Pipeline
from offline.sources import own_files
from offline.writers.settings import WriterSettings
from tests.fixtures.llm_server import LlmServer, running_llm_server
from tests.fixtures.tiny_log import TINY_PRESET, write_log

PRESET = replace(TINY_PRESET, codes_per_level=4)


@pytest.fixture(scope="module")
def server() -> Iterator[LlmServer]:
    """A server that answers properly."""
    with running_llm_server() as running:
        yield running


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mapping of a tiny log."""
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this file keep artefacts and answers."""
    return tmp_path_factory.mktemp("root")


def pipeline(log: Path, root: Path, server: LlmServer, **changes: object) -> Pipeline:
    """The pipeline with a language model behind an endpoint."""
    members = {"writer": "openai", "base_url": server.base_url, "model": "m", "revision": "1"}
    settings = WriterSettings(**members | changes)  # type: ignore[arg-type]  # members by name
    return Pipeline(Store(root / "artefacts", lambda _: None), own_files(log), PRESET, settings)


def test_a_models_profiles_become_groups(
    log: Path, server: LlmServer, root: Path, tmp_path: Path
) -> None:
    """Profiles, encoder block and files all name the model, at both cuts; groups come of them."""
    way = pipeline(log, root, server, attributes=("age_band",))
    fitted, serving = way.training_cut(), way.serving_cut()
    block = EncoderBlock.load(fitted.embeddings.folder)
    assert block.profile_writer.startswith("openai/m/1/synthesise-1:")
    assert block.section_names == ("attributes", "identity", "interests", "philosophy")
    assert EncoderBlock.load(serving.embeddings.folder).digest == block.digest
    profiles = sorted((root / "artefacts" / "profiles").glob("*/profiles.parquet"))
    assert len(profiles) == 2
    for path in profiles:
        metadata = pq.read_schema(path).metadata or {}
        assert (metadata[b"writer"], metadata[b"model"]) == (b"openai", b"m")
        writing = json.loads((path.parent / "writing.json").read_text())
        rows = pq.read_table(path)["writer"].to_pylist()
        assert Counter(name or "nobody" for name in rows) == writing["profiles"]
    codes = np.load(fitted.groups.folder / "codes.npy")
    assert len(np.unique(codes[:, 0])) > 1
    asked = len(server.calls())
    shutil.copytree(root / "cache", tmp_path / "cache")
    again = pipeline(log, tmp_path, server, attributes=("age_band",)).training_cut()
    assert again.embeddings.digest == fitted.embeddings.digest
    assert len(server.calls()) == asked, "the answers outlive the artefacts"


def test_facts_told_by_other_code_make_other_profiles(
    log: Path, server: LlmServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profiles are stale once the code that tells facts changes; the block names its version."""
    before = pipeline(log, root, server, attributes=("age_band",)).training_cut()
    assert EncoderBlock.load(before.embeddings.folder).profile_writer.endswith("/windows-1")
    source = artefacts._source
    changed = {"offline.writers.digest": "# another phrase"}
    monkeypatch.setattr(artefacts, "_source", lambda name: source(name) + changed.get(name, ""))
    after = pipeline(log, root, server, attributes=("age_band",)).training_cut()
    assert after.profiles.digest != before.profiles.digest


def test_template_and_model_are_never_mixed(log: Path, server: LlmServer, root: Path) -> None:
    """Another model, another list of attributes or the template each make another artefact."""
    digests = set()
    told = {"attributes": ("age_band",)}
    for changes in (told, told | {"model": "n"}, {}, {"writer": "template"}):
        cut = pipeline(log, root, server, **changes).training_cut()
        digests.add(cut.embeddings.digest)
        block = EncoderBlock.load(cut.embeddings.folder)
        assert (block.section_names == SECTIONS) == (block.profile_writer == "template")
    assert len(digests) == 4


def test_the_command_line_chooses(
    log: Path, server: LlmServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A writer without its settings is refused with status 2, a failing endpoint with status 1."""
    words = ["build", "--root", str(tmp_path), "--mapping", str(log), "--writer", "openai"]
    assert main(words) == 2
    assert "the writer openai needs base_url" in capsys.readouterr().err
    settings = tmp_path / "llm.toml"
    settings.write_text('base_url = "http://127.0.0.1:1/v1"\nmodel = "m"\nrevision = "1"\n'
                        "deadline_s = 0.01\n")  # fmt: skip
    assert main([*words, "--llm", str(settings)]) == 1
    said = capsys.readouterr().err
    assert "50 requests in a row were given up" in said
    assert not list(tmp_path.glob("artefacts/profiles/*/*"))
