"""The answer: what a language model must return about one user or group, and nothing else."""

from functools import cache
from typing import Annotated, Any

import msgspec

MIN_CHARS = 20
MAX_CHARS = 400

Text = Annotated[str, msgspec.Meta(min_length=MIN_CHARS, max_length=MAX_CHARS)]
Name = Annotated[str, msgspec.Meta(min_length=3, max_length=60)]


class AnswerRefused(ValueError):
    """An answer that is not the JSON asked for."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts by name; every kind of answer has its own names and lengths."""

    def texts(self) -> tuple[str, ...]:
        """The texts in the order of their names, each on one line."""
        return tuple(" ".join(getattr(self, name).split()) for name in self.__struct_fields__)


class ProfileAnswer(Answer, frozen=True, forbid_unknown_fields=True):
    """One user's synthesised sections: the three dimensions of the paper, section 4.2.1."""

    identity: Text
    """Core identity: who this shopper probably is."""
    interests: Text
    """Key interests: what they shop for."""
    philosophy: Text
    """Consumption philosophy: how they choose."""


class GroupAnswer(Answer, frozen=True, forbid_unknown_fields=True):
    """What a card says of a group."""

    name: Name
    """A few words by which people will call it."""
    summary: Text
    """Who is in it and what they shop for."""


SECTIONS = ProfileAnswer.__struct_fields__


def parse_answer(content: str | bytes, kind: type[Answer] = ProfileAnswer) -> Answer:
    """Check an answer on our side, whatever the endpoint promised.

    Args:
        content: the message of the language model.
        kind: what was asked for.

    Returns:
        The answer; each text is mostly letters.

    Raises:
        AnswerRefused: when it is not JSON, not of the schema, or a text is no text.
    """
    try:
        answer = msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise AnswerRefused(f"not the JSON asked for: {error}") from error
    for (name, (least, _)), text in zip(_lengths(kind).items(), answer.texts(), strict=True):
        letters = sum(character.isalpha() for character in text)
        if letters < max(least, len(text)) / 2:
            raise AnswerRefused(f"{name} is {text!r}, expected a text: mostly letters")
    return answer


def json_schema(max_chars: int = MAX_CHARS, kind: type[Answer] = ProfileAnswer) -> dict[str, Any]:
    """The JSON schema of an answer, for the endpoint to hold its model to.

    Args:
        max_chars: longest text, at most ``MAX_CHARS``; a small model repeats itself in long ones.
        kind: what is asked for.

    Returns:
        The schema.
    """
    texts = {
        name: {"type": "string", "minLength": least, "maxLength": min(most, max_chars)}
        for name, (least, most) in _lengths(kind).items()
    }
    return {
        "type": "object",
        "properties": texts,
        "required": list(texts),
        "additionalProperties": False,
    }


@cache
def _lengths(kind: type[Answer]) -> dict[str, tuple[int, int]]:
    """Least and most characters of each text."""
    texts = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return {name: (text["minLength"], text["maxLength"]) for name, text in texts.items()}
