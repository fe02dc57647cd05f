"""The answer: what a language model must return for one user, and nothing else."""

from typing import Annotated, Any

import msgspec

SECTIONS = ("identity", "interests", "philosophy")
"""The three dimensions of a synthesised profile (paper, section 4.2.1)."""
MIN_CHARS = 20
MAX_CHARS = 400

Text = Annotated[str, msgspec.Meta(min_length=MIN_CHARS, max_length=MAX_CHARS)]


class AnswerRefused(ValueError):
    """An answer that is not the JSON asked for."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One user's synthesised sections."""

    identity: Text
    """Core identity: who this shopper probably is."""
    interests: Text
    """Key interests: what they shop for."""
    philosophy: Text
    """Consumption philosophy: how they choose."""

    def texts(self) -> tuple[str, ...]:
        """The three texts in the order of ``SECTIONS``, each on one line."""
        return tuple(" ".join(getattr(self, name).split()) for name in SECTIONS)


def parse_answer(content: str | bytes) -> Answer:
    """Check an answer on our side, whatever the endpoint promised.

    Args:
        content: the message of the language model.

    Returns:
        The answer; each text is mostly letters.

    Raises:
        AnswerRefused: when it is not JSON, not of the schema, or a text is no text.
    """
    try:
        answer = msgspec.json.decode(content, type=Answer)
    except msgspec.DecodeError as error:
        raise AnswerRefused(f"not the JSON asked for: {error}") from error
    for name, text in zip(SECTIONS, answer.texts(), strict=True):
        letters = sum(character.isalpha() for character in text)
        if letters < max(MIN_CHARS, len(text)) / 2:
            raise AnswerRefused(f"{name} is {text!r}, expected a text: mostly letters")
    return answer


def json_schema(max_chars: int = MAX_CHARS) -> dict[str, Any]:
    """The JSON schema of an answer, for the endpoint to hold its model to.

    Args:
        max_chars: longest text, at most ``MAX_CHARS``; a small model repeats itself in long ones.

    Returns:
        The schema.
    """
    text = {"type": "string", "minLength": MIN_CHARS, "maxLength": max_chars}
    return {
        "type": "object",
        "properties": dict.fromkeys(SECTIONS, text),
        "required": list(SECTIONS),
        "additionalProperties": False,
    }
