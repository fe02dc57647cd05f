"""Answers are checked on our side, whatever the endpoint promised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from offline.writers.answer import MAX_CHARS, SECTIONS, AnswerRefused, json_schema, parse_answer

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
