"""The reply: an endpoint's chat completion, parsed at the door and judged."""

from typing import Annotated

import msgspec

from offline.openai_client import CallFailed
from offline.writers.answer import Answer, AnswerRefused, parse_answer

Count = Annotated[int, msgspec.Meta(ge=0)]


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the endpoint counted them."""

    prompt_tokens: Count
    completion_tokens: Count


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """What a writer needs of a chat completion."""

    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1, max_length=1)]
    usage: Usage | None = None

    def answer(self, kind: type[Answer]) -> Answer:
        """The answer within.

        Args:
            kind: what was asked for.

        Raises:
            CallFailed: "length" when the model was cut off, "refused" when it ended otherwise than
                by itself, "wrong_schema" when the content is not what was asked for.
        """
        choice = self.choices[0]
        if choice.finish_reason == "length":
            raise CallFailed("length", "the answer was cut off at the most tokens allowed")
        if choice.finish_reason != "stop":
            raise CallFailed("refused", f"finish_reason {choice.finish_reason!r}, expected 'stop'")
        try:
            return parse_answer(choice.message.content or "", kind)
        except AnswerRefused as error:
            raise CallFailed("wrong_schema", str(error)) from error


def parse_reply(body: bytes) -> Reply:
    """Parse the body of a chat completion.

    Args:
        body: as received.

    Returns:
        The reply.

    Raises:
        CallFailed: "malformed" when it is no chat completion; what it cost is unknown then.
    """
    try:
        return msgspec.json.decode(body, type=Reply)
    except msgspec.DecodeError as error:
        message = f"not a chat completion: {error}"
        raise CallFailed("malformed", message, maybe_spent=True) from error
