"""The MiniLM encoder: a small transformer for sentences, run as an exported graph."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

WIDTH = 384
MAX_TOKENS = 256
_MARKS = 2
"""Tokens of every text, even of one without words: its begin and its end."""


class MiniLmEncoder:
    """384-d unit vectors by mean pooling; texts are cut after 256 tokens.

    About 80 to 200 texts a second on one core, by their length. A text without words gives the
    zero vector.
    """

    def __init__(self, graph: Path, tokenizer: Path) -> None:
        """Load both files.

        Args:
            graph: ONNX: int64 ``tokens [1, T]`` to float32 ``vector [1, 384]``.
            tokenizer: the tokenizer's JSON.

        Raises:
            OSError: when a file cannot be read.
            ValueError: when the graph is not such a graph.
        """
        model, words = graph.read_bytes(), tokenizer.read_bytes()
        self._identity = _identity(model, words)
        self._tokenizer = Tokenizer.from_buffer(words)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._session = _session(graph, model)

    @property
    def identity(self) -> str:
        """Model, pooling, width and a hash of graph and tokenizer."""
        return self._identity

    @property
    def width(self) -> int:
        """Length D of a vector: 384."""
        return WIDTH

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode N texts.

        One at a time: padding would be paid for as words are, and let a vector's last bits depend
        on the texts beside it.

        Args:
            texts: N texts.

        Returns:
            float32 ``[N, 384]``: unit vectors, zero for a text without words.
        """
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        for row, text in enumerate(texts):
            tokens = self._tokenizer.encode(text).ids
            if len(tokens) > _MARKS:
                (vectors[row],) = self._session.run(None, {"tokens": np.array([tokens], np.int64)})
        return vectors


def _identity(model: bytes, words: bytes) -> str:
    sha = hashlib.sha256(model)
    sha.update(words)
    return f"minilm/all-MiniLM-L6-v2/mean/{MAX_TOKENS}-tokens/{WIDTH}/{sha.hexdigest()[:16]}"


def _session(graph: Path, model: bytes) -> "onnxruntime.InferenceSession":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise ValueError(f"{graph}: ONNX Runtime refuses it ({error}); export it again") from error
    inputs = [part.name for part in session.get_inputs()]
    widths = [part.shape[-1] for part in session.get_outputs()]
    if (inputs, widths) != (["tokens"], [WIDTH]):
        raise ValueError(
            f"{graph}: inputs {inputs} and output widths {widths}, expected ['tokens'] and"
            f" [{WIDTH}]; export it again"
        )
    return session
