"""The profile cache: what was paid for is found again, by the same writer alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from offline.writers.answer import Answer, ProfileAnswer
from offline.writers.cache import ProfileCache
from tests.fixtures.writers import PLAN

ANSWER = ProfileAnswer(
    "a young family in a town", "food and things for a baby", "buys what is practical"
)
OTHER = ProfileAnswer(
    "an older couple, retired", "garden and the house around it", "quality before price"
)
PROVENANCE = PLAN.provenance


def kept(root: Path, **answers: Answer) -> ProfileCache:
    """A closed cache with some answers."""
    cache = ProfileCache(root, PROVENANCE)
    for digest, answer in answers.items():
        cache.put(digest, answer)
    cache.close()
    return cache


def test_an_answer_is_found_again(tmp_path: Path) -> None:
    """Another process finds what one kept, and nothing else."""
    kept(tmp_path, a=ANSWER, b=OTHER)
    cache = ProfileCache(tmp_path, PROVENANCE)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (ANSWER, OTHER, None)
    assert len(cache) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other-model"},
        {"revision": "2"},
        {"prompt": replace(PLAN.prompt, system="Describe.")},
        {"sampling": {"temperature": 0.7, "max_tokens": 400}},
        {"schema": {"type": "object"}},
    ],
)
def test_another_writer_finds_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    """Model, revision, prompt, sampling and schema each make another writer."""
    kept(tmp_path, a=ANSWER)
    other = replace(PLAN, **change).provenance  # type: ignore[arg-type]  # fields by name
    assert ProfileCache(tmp_path, other).get("a") is None
    assert ProfileCache(tmp_path, PROVENANCE).get("a") == ANSWER


def test_what_does_not_change_the_text_changes_nothing(tmp_path: Path) -> None:
    """How hard an endpoint is asked, and what may be told, are not part of the writer."""
    kept(tmp_path, a=ANSWER)
    same = replace(PLAN, concurrency=1, allowed=(), telling="windows-0").provenance
    assert ProfileCache(tmp_path, same).get("a") == ANSWER


def test_the_last_answer_counts(tmp_path: Path) -> None:
    """Two runs at once may both have paid; the cache holds one answer."""
    kept(tmp_path, a=ANSWER)
    kept(tmp_path, a=OTHER)
    assert ProfileCache(tmp_path, PROVENANCE).get("a") == OTHER


def test_damage_costs_an_answer_and_no_more(tmp_path: Path) -> None:
    """A damaged line is asked for again; its neighbours are found."""
    cache = kept(tmp_path, a=ANSWER, b=OTHER)
    (shard,) = cache.folder.glob("answers-*.log")
    whole = shard.read_bytes()
    shard.write_bytes(b"\xff" + whole[1:] + b"0bad")
    damaged = ProfileCache(tmp_path, PROVENANCE)
    assert (damaged.get("a"), damaged.get("b")) == (None, OTHER)
    assert damaged.damaged == 2


def test_an_answer_that_is_none_any_more_is_asked_for_again(tmp_path: Path) -> None:
    """A whole line with another schema's answer, or another format, is as good as absent."""
    cache = ProfileCache(tmp_path, PROVENANCE)
    cache.put("a", ProfileAnswer("short", "short", "short"))
    cache._log.append(b'{"some": "other line"}')
    cache._log.append(b'{"key": "no hex", "answer": 1}')
    cache.close()
    again = ProfileCache(tmp_path, PROVENANCE)
    assert again.get("a") is None


def test_reading_makes_no_file(tmp_path: Path) -> None:
    """A run that finds everything, or nothing to do, leaves the folder as it was."""
    cache = ProfileCache(tmp_path, PROVENANCE)
    assert cache.get("a") is None
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_names_its_writer(tmp_path: Path) -> None:
    """A person can see whose answers these are; facts are not kept beside them."""
    cache = kept(tmp_path, **{"age secret": ANSWER})
    assert '"model": "test-model"' in (cache.folder / "writer.json").read_text()
    assert cache.folder.name.startswith("openai-")
    assert not any(b"secret" in path.read_bytes() for path in cache.folder.iterdir())
