"""The plan of a chat writer: what is asked of which model, and how hard."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, TypeVar

from offline.retry import RetryPolicy
from offline.writers.answer import Answer, ProfileAnswer, json_schema
from offline.writers.prompt import Prompt
from offline.writers.writer import Provenance, WriterFailed

F = TypeVar("F")

_TEMPLATE_TOKENS = 64
"""What a model's chat template may add around the messages."""


@dataclass(frozen=True)
class ChatPlan(Generic[F]):
    """Everything about the requests but their number."""

    writer: str
    """"openai" or "local"."""
    model: str
    """The model's name at the endpoint."""
    revision: str
    """Which weights bear that name."""
    prompt: Prompt
    digest: Callable[[F, Collection[str] | None], str]
    """How facts are told, given the attributes that may be (None = all); empty = nothing to ask."""
    sampling: Mapping[str, Any]
    """Members of every request besides messages, model and response format; ``max_tokens`` is
    among them."""
    allowed: Collection[str] | None
    """Attributes that may be told; None = all."""
    concurrency: int
    """Requests under way at a time."""
    policy: RetryPolicy
    """How often and how long one user is tried."""
    dead_share: float = 0.05
    """Share of requests that may be given up before the run fails."""
    kind: type[Answer] = ProfileAnswer
    """What is asked for."""
    schema: Mapping[str, Any] = field(default_factory=json_schema)
    """What an answer must look like."""
    telling: str = ""
    """Version of ``digest``; empty for groups, whose cards are no artefact."""

    @property
    def provenance(self) -> Provenance:
        """What answers depend on besides facts."""
        return Provenance(
            writer=self.writer,
            model=self.model,
            revision=self.revision,
            prompt=self.prompt.version,
            schema=sha256(_text(self.schema).encode()).hexdigest()[:16],
            sampling=_text(self.sampling),
            telling=self.telling,
        )

    def check_allowed(self, known: Collection[str]) -> None:
        """Refuse a misspelt name: it would tell nothing, and nobody would notice.

        Args:
            known: the attributes that users have.

        Raises:
            WriterFailed: naming what may be told and what there is.
        """
        unknown = sorted(set(self.allowed or ()) - set(known))
        if unknown:
            raise WriterFailed(
                f"attributes {unknown} may be told, but users have {list(known)}: mend the setting"
            )

    def body(self, digest: str) -> dict[str, Any]:
        """The request about one user or group; nothing in it says which.

        Args:
            digest: of the facts.

        Returns:
            A JSON object.
        """
        return {
            "model": self.model,
            "messages": self.prompt.messages(digest),
            "response_format": self._response_format(),
            **self.sampling,
        }

    def bound_tokens(self, digest: str) -> int:
        """The most that one request can cost: no tokeniser makes more tokens than bytes.

        Args:
            digest: of the facts.

        Returns:
            Tokens of prompt and answer together.
        """
        told = _text([self.prompt.messages(digest), self._response_format()])
        return len(told.encode()) + _TEMPLATE_TOKENS + int(self.sampling["max_tokens"])

    def _response_format(self) -> dict[str, Any]:
        name = self.kind.__name__.removesuffix("Answer").lower()
        schema = {"name": name, "strict": True, "schema": dict(self.schema)}
        return {"type": "json_schema", "json_schema": schema}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
