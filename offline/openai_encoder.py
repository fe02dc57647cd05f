"""The OpenAI-compatible encoder: text vectors from an endpoint, cut to a width on this side."""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from offline.openai_client import CallFailed, Endpoint, EndpointRefused, OpenAIClient
from offline.retry import RetryPolicy, retried

PATH = "/embeddings"
WIDTH = 512
"""Leading dimensions kept (paper, section 5.1)."""
INSTRUCTION = (
    "Instruct: Represent what this shopper is like, so that shoppers of similar needs and tastes"
    " lie close together.\nQuery: "
)
"""Put before every text: the production model is trained to be told its task in English."""

Floats = NDArray[np.float32]


class EncoderFailed(RuntimeError):
    """The endpoint did not give the vectors it was asked for."""


@dataclass(frozen=True)
class EmbeddingModel:
    """Which model answers at the endpoint, and how it is asked; all of it decides the vectors."""

    name: str
    """The model's name at the endpoint."""
    revision: str
    """Which weights bear that name."""
    native_width: int
    """Length of the endpoint's vectors; another length is refused."""
    width: int = WIDTH
    """Leading dimensions kept: the model must be trained for that (Matryoshka)."""
    pooling: str = "last-token"
    """How the endpoint makes one vector of a text; told for provenance, not sent."""
    instruction: str = INSTRUCTION
    """Put before every text; empty for a model that takes none."""

    def __post_init__(self) -> None:
        """Refuse a width that the endpoint's vectors do not have.

        Raises:
            ValueError: naming both widths.
        """
        if not 0 < self.width <= self.native_width:
            raise ValueError(f"width {self.width}, expected 1 to {self.native_width}")

    @property
    def identity(self) -> str:
        """Everything above in one line."""
        told = hashlib.sha256(self.instruction.encode()).hexdigest()[:8]
        widths = f"{self.native_width}-to-{self.width}"
        return f"openai/{self.name}@{self.revision}/{self.pooling}/{widths}/instruction-{told}"


@dataclass(frozen=True)
class Pace:
    """How fast the endpoint is asked."""

    texts: int = 32
    """Texts of one request."""
    requests: int = 8
    """Requests under way at a time."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)


class _Row(msgspec.Struct):
    index: int
    embedding: str | list[float]


class _Reply(msgspec.Struct):
    data: list[_Row]


class OpenAIEncoder:
    """Unit vectors of the first ``width`` dimensions that an endpoint gives.

    ``dimensions`` is not sent, since some servers ignore it: cutting here is the same everywhere.
    A text without words gives the zero vector and is not sent.
    """

    def __init__(self, endpoint: Endpoint, model: EmbeddingModel, pace: Pace | None = None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            endpoint: where the model answers.
            model: which one it is.
            pace: how fast it is asked; None takes the defaults.
        """
        self._endpoint = endpoint
        self._model = model
        self._pace = pace or Pace()

    @property
    def identity(self) -> str:
        """Model, revision, pooling, widths and instruction."""
        return self._model.identity

    @property
    def width(self) -> int:
        """Length D of a vector."""
        return self._model.width

    def encode(self, texts: Sequence[str]) -> Floats:
        """Encode N texts.

        Args:
            texts: N texts.

        Returns:
            float32 ``[N, width]``: unit vectors, zero for a text without words. As equal as the
            endpoint makes them: many compute a vector's last bits by its batch.

        Raises:
            EncoderFailed: when a request has no usable answer after its retries.
        """
        vectors = np.zeros((len(texts), self.width), np.float32)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        if rows:
            asyncio.run(self._fill(vectors, texts, rows))
        return vectors

    async def _fill(self, vectors: Floats, texts: Sequence[str], rows: Sequence[int]) -> None:
        size = self._pace.texts
        batches = iter([rows[start : start + size] for start in range(0, len(rows), size)])
        try:
            async with OpenAIClient(self._endpoint) as client, asyncio.TaskGroup() as tasks:
                for _ in range(self._pace.requests):
                    tasks.create_task(self._work(client, vectors, texts, batches))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _work(
        self,
        client: OpenAIClient,
        vectors: Floats,
        texts: Sequence[str],
        batches: Iterator[Sequence[int]],
    ) -> None:
        for rows in batches:
            vectors[list(rows)] = await self._ask(client, [texts[row] for row in rows])

    async def _ask(self, client: OpenAIClient, texts: Sequence[str]) -> Floats:
        body = {
            "model": self._model.name,
            "input": [f"{self._model.instruction}{text}" for text in texts],
            "encoding_format": "base64",
        }
        try:
            answer = await retried(lambda _: client.post(PATH, body), self._pace.retry)
        except (CallFailed, EndpointRefused) as failure:
            raise EncoderFailed(
                f"no vectors from {self._endpoint.base_url}: {failure}"
            ) from failure
        return self._kept(self._native(answer, len(texts)))

    def _native(self, answer: bytes, count: int) -> Floats:
        """float32 ``[count, native_width]`` of an answer, in the order asked."""
        try:
            rows = sorted(msgspec.json.decode(answer, type=_Reply).data, key=lambda row: row.index)
            vectors = [_numbers(row.embedding) for row in rows]
        except (msgspec.DecodeError, binascii.Error, ValueError) as error:
            raise EncoderFailed(f"{self._where()} answered no vectors: {error}") from error
        if [row.index for row in rows] != list(range(count)):
            raise EncoderFailed(
                f"{self._where()} answered {len(rows)} vectors, expected one for each of {count}"
            )
        widths = sorted({len(vector) for vector in vectors})
        if widths != [self._model.native_width]:
            raise EncoderFailed(
                f"{self._where()} gives vectors of {widths}, expected {self._model.native_width}:"
                " another model bears this name, or native_width is wrong"
            )
        return np.stack(vectors)

    def _kept(self, native: Floats) -> Floats:
        """The leading dimensions, brought to unit length again (docs/groups.md)."""
        kept = native[:, : self.width]
        norms = np.sqrt(np.sum(kept * kept, axis=1, keepdims=True))
        if not (np.isfinite(norms).all() and norms.all()):
            raise EncoderFailed(f"{self._where()} gives vectors without a direction")
        unit: Floats = kept / norms
        return unit

    def _where(self) -> str:
        return f"{self._model.name} at {self._endpoint.base_url}"


def _numbers(embedding: str | list[float]) -> Floats:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    return np.array(embedding, np.float32)
