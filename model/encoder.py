"""The encoder block: how a profile's section texts become one user vector."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.array_file import read_array, write_array
from model.whole_file import whole_file

SECTION_WEIGHTS = {
    "attributes": 2.0,
    "recent": 0.5,
    "medium": 0.7,
    "long": 0.7,
    "queries": 0.3,
    "identity": 0.7,
    "interests": 1.0,
    "philosophy": 0.5,
}
"""Attributes lead because they are stable; the longer windows hold more evidence than the recent
one; queries are many and noisy (docs/groups.md). A language model's three
sections weigh as much together as the template's four without attributes, and the one nearest to
what was bought leads."""

TEXTS = "texts"
"""A reading: a section is one text."""

_JSON = "encoder.json"
_MEANS = "section_means.npy"
_PROJECTION = "projection.npy"


class TextEncoder(Protocol):
    """Turns texts into vectors; equal texts give equal vectors in any batch."""

    @property
    def identity(self) -> str:
        """Name and content of the encoder; another identity means other vectors."""

    @property
    def width(self) -> int:
        """Length D of a vector."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode N texts.

        Args:
            texts: N texts; an empty one means nothing is known.

        Returns:
            float32 ``[N, D]``: unit vectors, zero for a text without words.
        """


@dataclass(frozen=True, eq=False)
class EncoderBlock:
    """Everything between section vectors and user vector, frozen with the bundle."""

    template_version: str
    """Version of the profile text that the sections come from."""
    encoder_identity: str
    """Identity of the text encoder."""
    section_names: tuple[str, ...]
    """Names of the S sections, in order."""
    section_weights: tuple[float, ...]
    """Weight of each section in the sum."""
    section_means: NDArray[np.float32]
    """``[S, D]``: mean vector of each section over the users that have it, at the training cut."""
    projection: NDArray[np.float32] | None = None
    """``[S, D, W]``: behaviour alignment of every section; None: sections are only summed."""
    normalise: bool = True
    """Whether user vectors are brought to unit length (docs/groups.md)."""
    profile_writer: str = "template"
    """Who wrote the profiles: "template", or a language model with prompt and sampling."""
    reading: str = TEXTS
    """How a section becomes a vector: each as one text, or by phrases (``model.phrases``)."""

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together.

        Raises:
            ValueError: naming the part, its shape and what was expected.
        """
        count = len(self.section_names)
        if len(self.section_weights) != count:
            raise ValueError(
                f"encoder block: {len(self.section_weights)} section weights for {count} sections;"
                " give one weight per section"
            )
        _check_matrix("section_means", self.section_means, rows=count)
        if self.projection is not None:
            _check_projection(self.projection, self.section_means.shape)

    @property
    def width(self) -> int:
        """Length W of a user vector."""
        last = self.section_means if self.projection is None else self.projection
        return int(last.shape[-1])

    def combine(
        self, section_vectors: NDArray[np.float32], evidence: NDArray[np.float32 | np.bool_]
    ) -> NDArray[np.float32]:
        """Combine section vectors into user vectors e_u.

        Sections are summed and not concatenated, each through its own part of the projection if
        there is one: so a user known by attributes alone can stand beside one known by purchases
        alone. Each is centred first and counts by its evidence; a missing one adds nothing, so
        that what is missing does not define a group.

        Args:
            section_vectors: float32 ``[N, S, D]``.
            evidence: float32 ``[N, S]`` in ``[0, 1]``, or bool: how much each section counts, 0 =
                missing. Vectors of missing sections are not read.

        Returns:
            float32 ``[N, W]``, unit length if ``normalise``; zero for users without any section.
            A row does not depend on the other rows.

        Raises:
            ValueError: when the shapes do not fit the block.

        Source: section 4.2.2 (1).
        """
        expected = (len(evidence), *self.section_means.shape)
        if section_vectors.shape != expected or evidence.shape != expected[:2]:
            raise ValueError(
                f"section vectors {section_vectors.shape} with evidence {evidence.shape}:"
                f" expected {expected} and {expected[:2]}"
            )
        centred = self.centred(section_vectors, evidence)
        total = (
            self._summed(centred) if self.projection is None else _project(centred, self.projection)
        )
        return _unit(total) if self.normalise else total

    def centred(
        self, section_vectors: NDArray[np.float32], evidence: NDArray[np.float32 | np.bool_]
    ) -> NDArray[np.float32]:
        """What is summed or projected: each section's difference to the average, as it counts.

        Args:
            section_vectors: float32 ``[N, S, D]``.
            evidence: ``[N, S]``, as for ``combine``.

        Returns:
            float32 ``[N, S, D]``; zero for missing sections.
        """
        centred = np.zeros(section_vectors.shape, np.float32)
        for section, weight in enumerate(self.section_weights):
            rows = np.flatnonzero(evidence[:, section])
            counts = np.float32(weight) * evidence[rows, section].astype(np.float32)
            difference = section_vectors[rows, section] - self.section_means[section]
            centred[rows, section] = counts[:, None] * difference
        return centred

    def _summed(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros((len(centred), self.width), np.float32)
        for section in range(len(self.section_weights)):
            total += centred[:, section]
        return total

    @property
    def digest(self) -> str:
        """SHA-256 over settings and arrays; part of the feature contract."""
        sha = hashlib.sha256(self._settings().encode())
        for array in (self.section_means, self.projection):
            if array is not None:
                sha.update(repr(array.shape).encode())
                sha.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
        return sha.hexdigest()

    def _settings(self) -> str:
        settings = {
            "template_version": self.template_version,
            "profile_writer": self.profile_writer,
            "encoder_identity": self.encoder_identity,
            "section_names": self.section_names,
            "section_weights": self.section_weights,
            "projection": self.projection is not None,
            "normalise": self.normalise,
            "width": self.width,
        }
        if self.reading != TEXTS:  # so that blocks from before there was a choice keep their digest
            settings["reading"] = self.reading
        return json.dumps(settings, sort_keys=True, indent=1)

    def save(self, folder: Path) -> None:
        """Write ``encoder.json``, ``section_means.npy`` and, if there is one, ``projection.npy``.

        Args:
            folder: an existing folder. ``encoder.json`` comes last and vouches for the arrays.
        """
        write_array(folder / _MEANS, self.section_means)
        if self.projection is not None:
            write_array(folder / _PROJECTION, self.projection)
        document = json.loads(self._settings()) | {"digest": self.digest}
        with whole_file(folder / _JSON) as partial:
            partial.write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "EncoderBlock":
        """Read what ``save`` wrote.

        Args:
            folder: the folder.

        Returns:
            A block whose digest equals the saved one.

        Raises:
            FileNotFoundError: when a file is missing.
            ValueError: when a file is not what ``save`` writes, or the digest differs.
        """
        document = _read_settings(folder / _JSON)
        block = cls(
            template_version=document["template_version"],
            encoder_identity=document["encoder_identity"],
            section_names=tuple(document["section_names"]),
            section_weights=tuple(document["section_weights"]),
            section_means=read_array(folder / _MEANS),
            projection=read_array(folder / _PROJECTION) if document["projection"] else None,
            normalise=document["normalise"],
            profile_writer=document["profile_writer"],
            reading=document.get("reading", TEXTS),
        )
        if block.digest != document["digest"]:
            raise ValueError(
                f"{folder}: digest {block.digest}, expected {document['digest']};"
                " the encoder block was changed after it was saved: build it again"
            )
        return block


def _project(centred: NDArray[np.float32], projection: NDArray[np.float32]) -> NDArray[np.float32]:
    matrix = projection.reshape(-1, projection.shape[-1])
    side_by_side = centred.reshape(len(centred), len(matrix))
    # einsum, not BLAS: BLAS rounds one row alone otherwise than the same row in a batch.
    projected: NDArray[np.float32] = np.einsum("nd,dw->nw", side_by_side, matrix)
    return projected


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(np.sum(vectors * vectors, axis=1, keepdims=True))
    unit = np.zeros_like(vectors)
    np.divide(vectors, norms, out=unit, where=norms > 0)
    return unit


def _check_projection(projection: NDArray[np.float32], means: tuple[int, ...]) -> None:
    shape = projection.shape
    if projection.dtype != np.float32 or len(shape) != 3 or shape[:2] != means:
        raise ValueError(
            f"encoder block: projection is {projection.dtype} {shape}, expected float32"
            f" [{means[0]}, {means[1]}, *]"
        )
    if not np.isfinite(projection).all():
        raise ValueError("encoder block: projection holds values that are not finite")


def _check_matrix(name: str, array: NDArray[np.float32], rows: int) -> None:
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[0] != rows:
        raise ValueError(
            f"encoder block: {name} is {array.dtype} {array.shape}, expected float32 [{rows}, *]"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"encoder block: {name} holds values that are not finite")


def _read_settings(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(path.read_text())
    expected = {
        "digest", "encoder_identity", "normalise", "profile_writer", "projection",
        "section_names", "section_weights", "template_version", "width",
    }  # fmt: skip
    if set(settings) - {"reading"} != expected:
        raise ValueError(f"{path}: members {sorted(settings)}, expected {sorted(expected)}")
    return settings
