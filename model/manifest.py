"""The manifest: what a bundle says of itself, and the hash of every other file in it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from model.spec import feature_contract

FORMAT = 2
"""2: with evaluation and report, and a reference sketch with bins of even counts."""
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
LARGEST_TOLERANCE = 1e-3
"""Beyond it a golden check would show nothing."""


class BrokenBundle(ValueError):
    """A bundle that must not serve: what is wrong with it, and where."""


@dataclass(frozen=True)
class ContractParts:
    """The four digests that make up the feature contract."""

    schema: str
    encoder: str
    codebooks: str
    spec: str

    @property
    def contract(self) -> str:
        """The feature contract over the four."""
        return feature_contract(self.schema, self.encoder, self.codebooks, self.spec)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself; written last, so that a bundle without one is no bundle."""

    model_version: int
    """A positive integer, as in Triton's repositories."""
    feature_contract: str
    """A generation must carry the same one to be served with this bundle."""
    parts: ContractParts
    files: Mapping[str, str]
    """SHA-256 of every other file, by path relative to the bundle."""
    lineage: Mapping[str, Any]
    """Where it comes from: dataset, split, seed, digests of code and inputs, provenance."""
    metrics: Mapping[str, Any]
    """Evaluation, by activity level."""
    tolerances: Mapping[str, float] = field(
        default_factory=lambda: {"CPUExecutionProvider": 1e-5, "CUDAExecutionProvider": 1e-4}
    )
    """Largest |difference| / max(1, |logit|) from the golden logits, per execution provider."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Refuse what no bundle says of itself.

        Raises:
            BrokenBundle: naming the member, its value and what was expected.
        """
        _check(self)

    def to_json(self) -> str:
        """JSON for people and programs, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what ``to_json`` wrote.

        Raises:
            BrokenBundle: when the text is no manifest of this format.
        """
        try:
            fields = json.loads(text, object_pairs_hook=_once)
            parts = ContractParts(**fields.pop("parts"))
            return cls(parts=parts, **fields)
        except BrokenBundle:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BrokenBundle(f"{MANIFEST}: not a bundle manifest ({error})") from error


def safe_name(name: str) -> str:
    """A relative path that stays inside its bundle, or an error.

    Raises:
        BrokenBundle: for absolute paths, ``..``, backslashes, control characters and empty names.
    """
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    if not name or not inside or str(path) != name or not name.isprintable():
        raise BrokenBundle(f"file name {name!r:.200} leaves the bundle or is not canonical")
    return name


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose members stands twice: readers would disagree on which counts."""
    told = dict(pairs)
    if len(told) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in told if names.count(name) > 1)
        raise BrokenBundle(f"{MANIFEST}: says {twice!r:.80} twice")
    return told


def _check(manifest: Manifest) -> None:
    version: object = manifest.model_version
    files: object = manifest.files
    if manifest.format != FORMAT:
        raise BrokenBundle(
            f"{MANIFEST}: format {manifest.format!r}, this build reads {FORMAT}; serve it with the "
            "build that exported it, or export it again"
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BrokenBundle(f"{MANIFEST}: model_version {version!r}, expected a positive integer")
    if not isinstance(files, Mapping) or not files:
        raise BrokenBundle(f"{MANIFEST}: names no files")
    for name in files:
        safe_name(name)
    for part, digest in asdict(manifest.parts).items():
        if not isinstance(digest, str):
            raise BrokenBundle(f"{MANIFEST}: parts.{part} {digest!r}, expected a digest as text")
    for name, member in (("lineage", manifest.lineage), ("metrics", manifest.metrics)):
        if not isinstance(member, Mapping):
            raise BrokenBundle(f"{MANIFEST}: {name} {member!r:.80}, expected an object")
    _check_tolerances(manifest.tolerances)


def _check_tolerances(tolerances: object) -> None:
    if not isinstance(tolerances, Mapping):
        raise BrokenBundle(f"{MANIFEST}: tolerances {tolerances!r}, expected an object")
    for provider, tolerance in tolerances.items():
        # A NaN lies in no range.
        if type(tolerance) not in (int, float) or not 0 < tolerance <= LARGEST_TOLERANCE:
            raise BrokenBundle(
                f"{MANIFEST}: tolerance of {provider}: {tolerance!r}, expected a number above 0 "
                f"and at most {LARGEST_TOLERANCE}"
            )
