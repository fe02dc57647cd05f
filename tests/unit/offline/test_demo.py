"""The demo: from a log to two answers that a person can read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import offline.demo
from offline.demo import Example, answer_table, choose_examples, demonstrate
from offline.histories import epoch_s
from offline.pipeline import Dataset
from offline.product import Product
from offline.sources import own_files
from tests.fixtures.tiny_log import building, shared_folder, tiny_pipeline, write_log

ANSWER = {
    "item_ids": ["a", "b", "c"],
    "scores": [0.25, 0.75, 0.5],
    "individual_logits": [-1.0, 1.0, 0.0],
    "group_logits": [-2.0, 2.0, 0.5],
    "alpha_fusion": 0.4567,
    "user": {"activity_level": 1, "group_id": [2, 0, 1], "prefix_used": [2, 0]},
    "degraded": ["stale_prior"],
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The tiny log with its samples."""
    pipeline = tiny_pipeline(tmp_path_factory)
    with building(shared_folder(tmp_path_factory)):
        pipeline.samples(pipeline.grouping)
    return pipeline


def test_examples_are_real_requests_of_both_ends(pipeline: Product) -> None:
    """The examples are test requests of a level 1 and a level 5 user, with what came of them."""
    low, high = choose_examples(pipeline)
    assert (low.title, high.title) == ("a low-activity user", "a high-activity user")
    clicks = pipeline.tables().clicks().to_pylist()
    for example in (low, high):
        rows = [
            row
            for row in clicks
            if row["user_id"] == example.user_id and example.request_time_s == epoch_s(row["time"])
        ]
        assert [row["item_id"] for row in rows] == list(example.item_ids)
        assert [bool(row["label"]) for row in rows] == list(example.bought)
        assert 6 <= len(rows) <= 14
    users = [str(user) for user in pipeline.tables().users()["user_id"].to_pylist()]
    split = pipeline.load_samples(pipeline.grouping).test
    levels = {
        users[user]: level for user, level in zip(split.row_user, split.row_level, strict=True)
    }
    assert (levels[low.user_id], levels[high.user_id]) == (1, 5)


def test_an_answer_is_a_table_with_the_best_first() -> None:
    """Rows stand by falling score, with both channels, what was bought, and any degradation."""
    example = Example("somebody", "u1", ["a", "b", "c"], [True, False, False], 0)
    lines = answer_table(example, ANSWER, {"a": "tea", "b": "bread", "c": "soap"}).splitlines()
    assert "user u1, activity level 1" in lines[1]
    assert "alpha_fusion 0.457" in lines[1]
    assert [line.split()[-1] for line in lines[3:6]] == ["bread", "soap", "tea"]
    assert lines[5].split() == ["0.2500", "-1.000", "-2.000", "bought", "tea"]
    assert lines[6] == "  degraded: stale_prior"


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    """The tiny log in place of the panel, and a service that ends at once."""
    tiny = own_files(write_log(tmp_path / "log"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline.demo, "complete_journey", lambda *_: tiny)
        patch.setenv("CHOIRREC_DRAIN_S", "0")
        patch.setenv("CHOIRREC_FETCH_BUDGET_MS", "1000")
        yield tiny


@pytest.mark.slow
@pytest.mark.needs("redis-server")
def test_the_demo_answers_twice_and_the_second_time_from_the_store(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run ends in two full answers and says what lies where; the next one builds nothing."""
    root = tmp_path / "var"
    demonstrate(root, once=True, short=True)
    first = capsys.readouterr().out
    assert "smaller than the sizes of the specification" in first
    for words in ("a low-activity user: user", "a high-activity user: user", "What lies where"):
        assert words in first
    assert "degraded" not in first
    assert "version 1 (exported)" in first
    assert "choirrec-serve status --admin http://127.0.0.1:" in first
    load = json.loads((root / "load.json").read_text())
    assert len(load["users"]) == 300
    assert len(load["item_ids"]) == 120
    demonstrate(root, once=True, short=True)
    second = capsys.readouterr().out
    assert "building" not in second
    assert "version 1 (unchanged)" in second
    assert len(_tables(first)) > 10
    assert _tables(second) == _tables(first)


def _tables(said: str) -> list[str]:
    return [line for line in said.splitlines() if " user: user " in line or line[:5] == "   0."]
