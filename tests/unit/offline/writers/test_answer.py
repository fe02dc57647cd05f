"""Answers are checked on our side, whatever the endpoint promised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from offline.writers.answer import (
    MAX_CHARS,
    SECTIONS,
    AnswerRefused,
    GroupAnswer,
    json_schema,
    parse_answer,
)

GOOD = dict.fromkeys(SECTIONS, "a text of some words, long enough")


def test_a_good_answer_is_three_lines() -> None:
    """Line breaks and runs of spaces become single spaces."""
    content = json.dumps(GOOD | {"identity": "  one\nline,  and\tanother one "})
    assert parse_answer(content).texts() == ("one line, and another one", *[GOOD["interests"]] * 2)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{",
        "Sure! Here is the profile:",
        "```json\n" + json.dumps(GOOD) + "\n```",
        json.dumps(GOOD)[:-2],
        json.dumps(GOOD) + "{}",
        json.dumps({"identity": GOOD["identity"]}),
        json.dumps(GOOD | {"hacked": "yes"}),
        json.dumps(GOOD | {"identity": ["a list of texts is no text"]}),
        json.dumps(GOOD | {"identity": None}),
        json.dumps(GOOD | {"identity": "too short"}),
        json.dumps(GOOD | {"identity": " " * 40}),
        json.dumps(GOOD | {"identity": "user 1234567890 1234567890 1234567890"}),
        json.dumps(GOOD | {"identity": "x" * (MAX_CHARS + 1)}),
    ],
)
def test_anything_else_is_refused(content: str) -> None:
    """Other members, types, lengths, prose around it, numbers for words: all are no answer."""
    with pytest.raises(AnswerRefused):
        parse_answer(content)


@given(st.dictionaries(st.sampled_from([*SECTIONS, "other"]), st.text(max_size=500)))
def test_what_is_accepted_fits_the_schema(members: dict[str, str]) -> None:
    """Our check is at least as strict as the schema that the endpoint is given."""
    try:
        parse_answer(json.dumps(members))
    except AnswerRefused:
        return
    Draft202012Validator(json_schema()).validate(members)


@given(st.dictionaries(st.sampled_from(["name", "summary", "other"]), st.text(max_size=80)))
def test_what_is_accepted_of_a_group_fits_its_schema(members: dict[str, str]) -> None:
    """An answer about a group has a name and a summary, and neither more nor less."""
    try:
        name, summary = parse_answer(json.dumps(members), GroupAnswer).texts()
    except AnswerRefused:
        return
    Draft202012Validator(json_schema(kind=GroupAnswer)).validate(members)
    assert name
    assert summary


def test_a_group_may_have_a_short_name() -> None:
    """A name is shorter than a summary; an answer about a user is none about a group."""
    good = {"name": "Gardeners", "summary": "people who buy seeds and tools"}
    assert parse_answer(json.dumps(good), GroupAnswer).texts() == tuple(good.values())
    for bad in (good | {"name": "1234567"}, good | {"summary": "short"}, GOOD):
        with pytest.raises(AnswerRefused):
            parse_answer(json.dumps(bad), GroupAnswer)


@given(st.binary(max_size=60))
def test_no_bytes_crash_it(content: bytes) -> None:
    """Whatever arrives is refused, never another error."""
    with pytest.raises(AnswerRefused):
        parse_answer(content)


@given(st.integers(20, MAX_CHARS))
def test_a_schema_for_a_small_model_is_narrower(max_chars: int) -> None:
    """What a narrower schema allows, the check accepts."""
    texts = dict.fromkeys(SECTIONS, "y" * max_chars)
    Draft202012Validator(json_schema(max_chars)).validate(texts)
    assert parse_answer(json.dumps(texts)).texts() == ("y" * max_chars,) * 3
