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
    """``[D, W]``: behaviour alignment of the sum, None = identity."""
    normalise: bool = True
    """Whether user vectors are brought to unit length (docs/groups.md)."""
    profile_writer: str = "template"
    """Who wrote the profiles: "template", or a language model with prompt and sampling."""

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
            _check_matrix("projection", self.projection, rows=self.section_means.shape[1])

    @property
    def width(self) -> int:
        """Length W of a user vector."""
        last = self.section_means if self.projection is None else self.projection
        return int(last.shape[1])

    def combine(
        self, section_vectors: NDArray[np.float32], present: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Combine section vectors into user vectors e_u.

        Sections are summed and not concatenated: they share one semantic space, so a user known by
        attributes alone can stand beside one known by purchases alone. Each is centred first and a
        missing one adds nothing, so that what is missing does not define a group.

        Args:
            section_vectors: float32 ``[N, S, D]``.
            present: bool ``[N, S]``; vectors of absent sections are not read.

        Returns:
            float32 ``[N, W]``, unit length if ``normalise``; zero for users without any section.
            A row does not depend on the other rows.

        Raises:
            ValueError: when the shapes do not fit the block.

        Source: section 4.2.2 (1).
        """
        expected = (len(present), *self.section_means.shape)
        if section_vectors.shape != expected or present.shape != expected[:2]:
            raise ValueError(
                f"section vectors {section_vectors.shape} with presence {present.shape}:"
                f" expected {expected} and {expected[:2]}"
            )
        total = np.zeros((len(present), expected[2]), dtype=np.float32)
        for section, weight in enumerate(self.section_weights):
            rows = present[:, section]
            centred = section_vectors[rows, section] - self.section_means[section]
            total[rows] += np.float32(weight) * centred
        return _unit(self._project(total)) if self.normalise else self._project(total)

    def _project(self, total: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.projection is None:
            return total
        # einsum, not BLAS: BLAS rounds one row alone otherwise than the same row in a batch.
        projected: NDArray[np.float32] = np.einsum("nd,dw->nw", total, self.projection)
        return projected

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
        )
        if block.digest != document["digest"]:
            raise ValueError(
                f"{folder}: digest {block.digest}, expected {document['digest']};"
                " the encoder block was changed after it was saved: build it again"
            )
        return block


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(np.sum(vectors * vectors, axis=1, keepdims=True))
    unit = np.zeros_like(vectors)
    np.divide(vectors, norms, out=unit, where=norms > 0)
    return unit


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
    if set(settings) != expected:
        raise ValueError(f"{path}: members {sorted(settings)}, expected {sorted(expected)}")
    return settings
