"""The fact log: phrases of what was known just before a moment, the latest counting most."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.phrases import PhraseLists
from offline.fact_log import FactLog
from offline.histories import epoch_s
from tests.unit.offline.small_tables import SCHEMA, Rows, arrow_tables, at, small_rows, write


def rows() -> Rows:
    """Purchases of one user in all three windows before 6 January; two queries."""
    made = small_rows()
    made["purchases"] = [
        {"user_id": "u1", "item_id": "i1", "time": at(3)},
        {"user_id": "u1", "item_id": "i2", "time": at(4)},
        {"user_id": "u1", "item_id": "i1", "time": at(5)},
        {"user_id": "u1", "item_id": "i1", "time": at(6)},
    ]
    made["searches"] = [
        {"user_id": "u2", "query": "Oat_Milk", "time": at(4)},
        {"user_id": "u2", "query": "!!!", "time": at(5)},
    ]
    return made


@pytest.fixture
def log(tmp_path: Path) -> FactLog:
    """The log of those rows."""
    split = replace(SCHEMA.split, test_end=at(9))
    schema = replace(SCHEMA, profile_windows_days=(1, 2, 4), split=split)
    return FactLog.open(write(tmp_path, arrow_tables(rows(), schema), schema))


def told(log: FactLog, lists: PhraseLists, user: int) -> dict[str, float]:
    """Phrases of a user by weight."""
    own = slice(int(lists.offsets[user]), int(lists.offsets[user + 1]))
    pairs = zip(lists.phrase[own], lists.weight[own], strict=True)
    return {log.phrases[phrase]: weight for phrase, weight in pairs}


def test_purchases_are_told_by_category_and_side_field(log: FactLog) -> None:
    """What is known of an item is told, and the latest purchases count most."""
    _, bought, _ = log.sections(epoch_s(at(6)))
    assert told(log, bought, 0) == {"food": 2 + 1.3 + 1, "oats": 2 + 1, "brand a": 2 + 1}
    assert bought.facts.tolist() == [2 + 1.3 + 1, 0, 0]


def test_nothing_as_late_as_the_moment_is_told(log: FactLog) -> None:
    """A profile never knows its own future: the purchase at the moment is not in it."""
    second = epoch_s(at(6))
    assert told(log, log.sections(second)[1], 0) != told(log, log.sections(second + 1)[1], 0)
    _, bought, asked = log.sections(epoch_s(at(3)))
    assert not bought.facts.any()
    assert not asked.facts.any()


def test_what_lies_before_the_history_is_not_told(log: FactLog) -> None:
    """Earlier events are not used, so that no grouping knows more than another."""
    later = replace(log, start_s=epoch_s(at(5)))
    assert later.sections(epoch_s(at(6)))[1].facts.tolist() == [2, 0, 0]


def test_queries_are_spelt_and_those_without_words_are_none(log: FactLog) -> None:
    """Two spellings of a query are one phrase; punctuation alone tells nothing."""
    _, _, asked = log.sections(epoch_s(at(6)))
    assert told(log, asked, 1) == {"oat milk": 1}
    assert asked.facts.tolist() == [0, 1, 0]


def test_attributes_are_told_by_the_template_of_newcomers(log: FactLog) -> None:
    """Offline and online, a known attribute is the same phrase; a missing one is none."""
    attributes = log.sections(epoch_s(at(6)))[0]
    assert told(log, attributes, 0) == {"age old": 1, "spend 1.5": 1}
    assert told(log, attributes, 1) == {}
    assert attributes.facts.tolist() == [2, 0, 2]
