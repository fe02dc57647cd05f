"""The bundle: one model version as a folder of files, sealed by its manifest."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from model.assembly import Catalogue, misfit
from model.evaluation import EVALUATION_FILE, MAX_EVALUATION_BYTES, REPORT_FILE, Evaluation
from model.golden import Golden, PriorSnapshot, golden_from_json, snapshot_from_json
from model.grouping import Grouping
from model.records import schema_digest
from model.reference import REFERENCE_FILE, ReferenceSketch
from model.spec import FeatureSpec, feature_contract
from model.tables import MalformedTables, Tables
from model.whole_file import whole_file

FORMAT = 2
"""2: with evaluation and report."""
MANIFEST = "manifest.json"
GRAPHS = ("group_channel", "individual_channel", "reliability")
MAX_BUNDLE_BYTES = 64 * 2**30
_EVALUATION = (EVALUATION_FILE, REPORT_FILE)
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
            fields = json.loads(text)
            parts = ContractParts(**fields.pop("parts"))
            manifest = cls(parts=parts, **fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BrokenBundle(f"{MANIFEST}: not a bundle manifest ({error})") from error
        _check_manifest(manifest)
        return manifest


@dataclass(frozen=True, eq=False)
class Bundle:
    """An opened, verified bundle."""

    folder: Path
    manifest: Manifest
    digest: str
    """SHA-256 of the manifest, which holds the hash of every other file."""
    spec: FeatureSpec
    grouping: Grouping
    catalogue: Catalogue
    tables: Tables
    prior_snapshot: PriorSnapshot
    golden: tuple[Golden, ...]
    evaluation: Evaluation
    reference: ReferenceSketch

    @cached_property
    def graphs(self) -> Mapping[str, bytes]:
        """The three ONNX graphs, by name."""
        return {name: (self.folder / f"{name}.onnx").read_bytes() for name in GRAPHS}


def seal(
    folder: Path,
    model_version: int,
    parts: ContractParts,
    lineage: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Manifest:
    """Hash every file of a finished bundle folder and write its manifest, last and atomically.

    Args:
        folder: a folder that holds every file but the manifest.
        model_version: a positive integer.
        parts: digests of schema, encoder block, codebooks and feature spec.
        lineage: where the bundle comes from.
        metrics: evaluation figures.

    Returns:
        The manifest as written.
    """
    with whole_file(folder / MANIFEST) as unfinished:
        unfinished.unlink(missing_ok=True)  # what a killed sealing left is no part of the bundle
        manifest = Manifest(
            model_version=model_version,
            feature_contract=parts.contract,
            parts=parts,
            files={name: file_digest(folder / name) for name in _files(folder)},
            lineage=lineage,
            metrics=metrics,
        )
        _check_manifest(manifest)
        unfinished.write_text(manifest.to_json())
    return manifest


def open_bundle(folder: Path) -> Bundle:
    """Verify a bundle in full and open it.

    Args:
        folder: a private copy: nobody else may write there while it is used.

    Returns:
        The bundle; its tables are mapped, not read.

    Raises:
        BrokenBundle: naming the file and what is wrong with it.
    """
    manifest_bytes = _read_manifest(folder)
    manifest = Manifest.from_json(manifest_bytes.decode(errors="replace"))
    _verify_files(folder, manifest)
    spec = _parsed(folder, "spec.json", FeatureSpec.from_json)
    grouping = _parsed(folder, "encoder", partial(Grouping.load, spec=spec))
    _check_contract(manifest, spec, grouping)
    catalogue = _catalogue(folder, spec)
    bundle = Bundle(
        folder=folder,
        manifest=manifest,
        digest=sha256(manifest_bytes).hexdigest(),
        spec=spec,
        grouping=grouping,
        catalogue=catalogue,
        tables=_tables(folder, spec, catalogue),
        prior_snapshot=_parsed(folder, "prior_snapshot.json", snapshot_from_json),
        golden=_parsed(folder, "golden.json", golden_from_json),
        evaluation=_parsed(folder, EVALUATION_FILE, Evaluation.from_json),
        reference=_parsed(folder, REFERENCE_FILE, ReferenceSketch.from_json),
    )
    _check_records(bundle)
    return bundle


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a regular file's bytes; a link is refused.

    Raises:
        BrokenBundle: when the path is a link or no regular file.
    """
    try:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BrokenBundle(f"{path.name}: cannot be opened as a plain file ({error})") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BrokenBundle(f"{path.name}: not a regular file")
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """A relative path that stays inside its bundle, or an error.

    Raises:
        BrokenBundle: for absolute paths, ``..``, backslashes and empty names.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise BrokenBundle(f"file name {name!r} leaves the bundle or is not canonical")
    return name


def _check_manifest(manifest: Manifest) -> None:
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


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise BrokenBundle(f"{folder.name}: no {MANIFEST}; the bundle is unfinished or half-copied")
    return path.read_bytes()


def _verify_files(folder: Path, manifest: Manifest) -> None:
    found, named = set(_files(folder)), set(manifest.files)
    needed = named | {f"{name}.onnx" for name in GRAPHS} | set(_EVALUATION)
    if missing := sorted(needed - found):
        raise BrokenBundle(f"missing files: {', '.join(missing[:5])}; copy the bundle again")
    if extra := sorted(found - named):
        raise BrokenBundle(f"files the manifest does not name: {', '.join(extra[:5])}")
    sizes = {name: (folder / name).lstat().st_size for name in named}
    for name in _EVALUATION:
        _check_size(f"{name}: ", sizes[name], MAX_EVALUATION_BYTES)
    _check_size("", sum(sizes.values()), MAX_BUNDLE_BYTES)
    for name, digest in manifest.files.items():
        if file_digest(folder / name) != digest:
            raise BrokenBundle(f"{name}: SHA-256 differs from the manifest's; copy it again")


def _check_size(what: str, size: int, most: int) -> None:
    if size > most:
        raise BrokenBundle(f"{what}{size} bytes, at most {most} are accepted")


def _files(folder: Path) -> list[str]:
    """Every entry below the folder but directories and the manifest; links count as files."""
    names = []
    for root, directories, files in os.walk(folder, followlinks=False):
        links = [name for name in directories if (Path(root) / name).is_symlink()]
        names += [(Path(root) / name).relative_to(folder).as_posix() for name in files + links]
    return sorted(name for name in names if name != MANIFEST)


def _check_contract(manifest: Manifest, spec: FeatureSpec, grouping: Grouping) -> None:
    parts = manifest.parts
    if parts.contract != manifest.feature_contract:
        raise BrokenBundle(f"{MANIFEST}: feature_contract does not follow from its parts")
    if parts.schema != schema_digest():
        raise BrokenBundle(
            f"record schema {parts.schema[:12]}, this build speaks {schema_digest()[:12]}; "
            "serve it with the build that exported it, or export it again"
        )
    told = {
        "spec.json": (parts.spec, spec.digest),
        "encoder/encoder.json": (parts.encoder, grouping.encoder.digest),
        "encoder/codebooks.npy": (parts.codebooks, grouping.codebooks.digest),
    }
    for name, (promised, found) in told.items():
        if promised != found:
            raise BrokenBundle(f"{name} has digest {found[:12]}, the contract says {promised[:12]}")


def _catalogue(folder: Path, spec: FeatureSpec) -> Catalogue:
    keys = _array(folder, "catalogue/item_keys.npy", np.dtype(np.uint64), 1)
    codes = _array(folder, "catalogue/item_codes.npy", np.dtype(np.int32), 2)
    if (keys[1:] <= keys[:-1]).any():
        raise BrokenBundle("catalogue/item_keys.npy: keys must strictly increase")
    if codes.shape != (len(keys), len(spec.item_fields)):
        raise BrokenBundle(f"catalogue/item_codes.npy: shape {codes.shape} does not fit the spec")
    sizes = np.array([field.size for field in spec.item_fields])
    if ((codes < 0) | (codes >= sizes)).any():
        raise BrokenBundle("catalogue/item_codes.npy: codes outside the spec's vocabularies")
    return Catalogue(keys=keys, codes=codes)


def _array(folder: Path, name: str, dtype: np.dtype[Any], ndim: int) -> Any:
    try:
        array = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise BrokenBundle(f"{name}: no array can be read from it ({error})") from error
    if array.dtype != dtype or array.ndim != ndim:
        raise BrokenBundle(f"{name}: {array.dtype} in {array.ndim}-d, expected {dtype} in {ndim}-d")
    return np.asarray(array)  # a plain view of the mapping, cheaper to look things up in


def _tables(folder: Path, spec: FeatureSpec, catalogue: Catalogue) -> Tables:
    try:
        return Tables.load(folder / "tables", spec, len(catalogue.keys))
    except (MalformedTables, OSError) as error:
        raise BrokenBundle(f"tables/{error}") from error


def _check_records(bundle: Bundle) -> None:
    if not bundle.golden:
        raise BrokenBundle("golden.json holds no requests, so nothing shows that it works here")
    for number, golden in enumerate(bundle.golden):
        for record in (golden.user, golden.group):
            if record and (reason := misfit(bundle.spec, record)):
                raise BrokenBundle(f"golden.json, request {number}: {reason}")
    for prefix, prior in bundle.prior_snapshot.records.items():
        if reason := misfit(bundle.spec, prior):
            raise BrokenBundle(f"prior_snapshot.json, prefix {prefix}: {reason}")


def _parsed(folder: Path, name: str, parse: Any) -> Any:
    """Read a text file, or what a folder holds, by its own parser."""
    path = folder / name
    try:
        return parse(path if path.is_dir() else path.read_text())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenBundle(f"{name}: {type(error).__name__}: {error}") from error
