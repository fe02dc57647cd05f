"""The bundle: one model version as a folder of files, sealed by its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from model.array_file import map_array
from model.assembly import Catalogue, misfit
from model.evaluation import EVALUATION_FILE, REPORT_FILE, Evaluation
from model.golden import Golden, PriorSnapshot, golden_from_json, snapshot_from_json
from model.graph_file import MalformedGraph, read_graph
from model.grouping import Grouping
from model.manifest import MANIFEST, BrokenBundle, ContractParts, Manifest
from model.pause import Pause, no_pause
from model.records import schema_digest
from model.reference import REFERENCE_FILE, ReferenceSketch
from model.sealed_files import (
    check_unchanged,
    file_digest,
    list_entries,
    read_manifest,
    verify_files,
)
from model.signatures import GRAPHS, WrongSignature, check_signatures
from model.spec import FeatureSpec
from model.tables import MalformedTables, Tables
from model.whole_file import whole_file

__all__ = ["GRAPHS", "MANIFEST", "BrokenBundle", "Bundle", "ContractParts", "Manifest"]

_GRAPH_FILES = tuple(f"{name}.onnx" for name in GRAPHS)
_NEEDED = (*_GRAPH_FILES, EVALUATION_FILE, REPORT_FILE)


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
    graphs: Mapping[str, bytes]
    """The three ONNX graphs, serialised, by name."""


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
        names = sorted(name for name in list_entries(folder) if name != MANIFEST)
        manifest = Manifest(
            model_version=model_version,
            feature_contract=parts.contract,
            parts=parts,
            files={name: file_digest(folder / name) for name in names},
            lineage=lineage,
            metrics=metrics,
        )
        unfinished.write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def open_bundle(folder: Path, pause: Pause = no_pause) -> Bundle:
    """Verify a bundle in full and open it.

    Args:
        folder: a private copy: nobody else may write there while it is used.
        pause: called between all steps.

    Returns:
        The bundle; its tables are mapped, not read.

    Raises:
        BrokenBundle: naming the file and what is wrong with it.
    """
    manifest_bytes = read_manifest(folder)
    manifest = Manifest.from_json(manifest_bytes.decode(errors="replace"))
    hashed = verify_files(folder, manifest, _NEEDED, pause)
    spec = _parsed(folder, "spec.json", FeatureSpec.from_json)
    pause()
    grouping = _parsed(folder, "encoder", partial(Grouping.load, spec=spec))
    _check_contract(manifest, spec, grouping)
    pause()
    catalogue = _catalogue(folder, spec)
    pause()
    tables = _tables(folder, spec, catalogue, pause)
    bundle = Bundle(
        folder=folder,
        manifest=manifest,
        digest=sha256(manifest_bytes).hexdigest(),
        spec=spec,
        grouping=grouping,
        catalogue=catalogue,
        tables=tables,
        prior_snapshot=_parsed(folder, "prior_snapshot.json", snapshot_from_json),
        golden=_parsed(folder, "golden.json", golden_from_json),
        evaluation=_parsed(folder, EVALUATION_FILE, Evaluation.from_json),
        reference=_parsed(folder, REFERENCE_FILE, ReferenceSketch.from_json),
        graphs={name: (folder / f"{name}.onnx").read_bytes() for name in GRAPHS},
    )
    pause()
    _check_graphs(bundle)
    pause()
    _check_records(bundle)
    check_unchanged(folder, hashed)
    return bundle


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
        array = map_array(folder / name)
    except (OSError, ValueError) as error:
        raise BrokenBundle(f"{name}: {error}") from error
    if array.dtype != dtype or array.ndim != ndim:
        raise BrokenBundle(f"{name}: {array.dtype} in {array.ndim}-d, expected {dtype} in {ndim}-d")
    return array


def _tables(folder: Path, spec: FeatureSpec, catalogue: Catalogue, pause: Pause) -> Tables:
    try:
        return Tables.load(folder / "tables", spec, len(catalogue.keys), pause)
    except (MalformedTables, OSError) as error:
        raise BrokenBundle(f"tables/{error}") from error


def _check_graphs(bundle: Bundle) -> None:
    read = {}
    for name, serialised in bundle.graphs.items():
        try:
            read[name] = read_graph(serialised)
        except MalformedGraph as error:
            raise BrokenBundle(f"{name}.onnx: {error}") from error
    try:
        check_signatures(read, bundle.spec, bundle.tables)
    except WrongSignature as error:
        raise BrokenBundle(str(error)) from error


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
        return parse(path if path.is_dir() else path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenBundle(f"{name}: {type(error).__name__}: {error}") from error
