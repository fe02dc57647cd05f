"""Export: a trained ChoirRec becomes a sealed bundle, once its graphs answer as training does."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from model.assembly import Catalogue
from model.bundle import BrokenBundle, ContractParts, Manifest, seal
from model.codebooks import Codebooks
from model.encoder import EncoderBlock
from model.evaluation import EVALUATION_FILE, MAX_EVALUATION_BYTES, REPORT_FILE, Evaluation
from model.fusion import sigmoid
from model.golden import Golden, GoldenRequest, PriorSnapshot, golden_to_json, snapshot_to_json
from model.network.batch import Batch, Split
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.prediction import predict
from model.network.serving import AblatedModelError, graphs, serving_tables, whole
from model.records import schema_digest
from model.reference import REFERENCE_FILE
from model.residuals import ResidualReference
from model.spec import FeatureSpec
from model.tables import Tables
from offline.bundle_check import check_bundle
from offline.golden_requests import request_arrays
from offline.model_card import model_card
from offline.onnx_graphs import to_onnx
from offline.parity import GraphRunner, Parity, check_parity, network_logits
from offline.reference import reference_sketch

TOLERANCE = 1e-5
"""Largest |difference| / max(1, |logit|) on the CPU (docs/architecture.md)."""


class ExportError(RuntimeError):
    """A model that cannot become a bundle: what is wrong, and how to mend it."""


@dataclass(frozen=True)
class Report:
    """What was measured of a model, twice: for programs, and for people."""

    evaluation: Evaluation
    page: str
    """HTML that loads nothing."""
    digest: str
    """SHA-256 of what it says and of the code that says it."""


@dataclass(frozen=True, eq=False)
class Ingredients:
    """All that a bundle is made of."""

    model: ChoirRec
    spec: FeatureSpec
    config: NetworkConfig
    catalogue: Catalogue
    encoder: EncoderBlock
    codebooks: Codebooks
    residuals: ResidualReference
    """Of the cut that the codebooks were fitted at."""
    snapshot: PriorSnapshot
    requests: Sequence[GoldenRequest]
    """Golden requests; their logits are computed here."""
    held_out: Split
    """Rows that the model did not learn from: parity and the reference sketch."""
    lineage: Mapping[str, Any]
    metrics: Mapping[str, Any]
    report: Report


def export_bundle(ingredients: Ingredients, model_version: int, folder: Path) -> Manifest:
    """Write a sealed bundle; it appears whole or not at all.

    Args:
        ingredients: what it is made of.
        model_version: a positive integer.
        folder: where it will stand; must not exist.

    Returns:
        The manifest.

    Raises:
        ExportError: when the model is an ablated one, when the folder exists, when codebooks and
            spec do not belong together, when the graphs do not answer as the network does, when
            the report is too large, or when the service would refuse what was written.
    """
    try:
        whole(ingredients.model)
    except AblatedModelError as error:
        raise ExportError(f"{error}; no bundle was written") from error
    if folder.exists():
        raise ExportError(f"{folder} exists: a model version never changes, choose a new number")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        manifest = _write_bundle(ingredients, model_version, unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def answer(
    model: ChoirRec, spec: FeatureSpec, catalogue: Catalogue, request: GoldenRequest
) -> Golden:
    """A golden request with the logits of the trained network."""
    users, groups, items = request_arrays(spec, catalogue, request)
    batch = Batch.of(users, groups, items, np.zeros(items.shape, np.float32))
    logits = network_logits(model, batch)
    return Golden(
        **{field.name: getattr(request, field.name) for field in fields(GoldenRequest)},
        individual_logits=tuple(logits.individual_logit[0].tolist()),
        group_logits=tuple(logits.group_logit[0].tolist()),
        alpha_fusion=float(logits.alpha_fusion[0, 0]),
    )


def _write_bundle(ingredients: Ingredients, model_version: int, folder: Path) -> Manifest:
    model, spec = ingredients.model, ingredients.spec
    parts = _contract_parts(ingredients)
    tables = serving_tables(model)
    models = {graph.name: to_onnx(graph) for graph in graphs(model, spec, ingredients.config)}
    parity = check_parity(model, GraphRunner(models), tables, ingredients.held_out)
    _require_parity(parity)
    for name, serialised in models.items():
        (folder / f"{name}.onnx").write_bytes(serialised)
    _write_arrays(folder, ingredients, tables)
    for name, text in _texts(ingredients, model_version, parity).items():
        (folder / name).write_text(text, encoding="utf-8")
    lineage = {**ingredients.lineage, "parity": parity.max_difference, "parity_rows": parity.rows}
    manifest = seal(folder, model_version, parts, lineage, ingredients.metrics)
    _require_whole(folder)
    return manifest


def _require_whole(folder: Path) -> None:
    """What the service would refuse does not leave the place where it was made."""
    try:
        check_bundle(folder)
    except BrokenBundle as error:
        raise ExportError(f"{error}; no bundle was written") from error


def _contract_parts(ingredients: Ingredients) -> ContractParts:
    spec, codebooks = ingredients.spec, ingredients.codebooks
    sizes = (codebooks.levels, codebooks.codes_per_level, codebooks.width)
    if sizes != (spec.levels, spec.codes_per_level, ingredients.encoder.width):
        raise ExportError(
            f"codebooks of (levels, codes, width) {sizes}; spec and encoder block say "
            f"{(spec.levels, spec.codes_per_level, ingredients.encoder.width)}: they come from "
            "different runs, run the groups stage again"
        )
    return ContractParts(
        schema=schema_digest(),
        encoder=ingredients.encoder.digest,
        codebooks=codebooks.digest,
        spec=spec.digest,
    )


def _require_parity(parity: Parity) -> None:
    if not parity.max_difference <= TOLERANCE:
        raise ExportError(
            f"the exported graphs differ from the trained network by {parity.max_difference:.2e} "
            f"of max(1, |logit|) over {parity.rows} rows, at most {TOLERANCE:.0e} is accepted; "
            "no bundle was written"
        )


def _write_arrays(folder: Path, ingredients: Ingredients, tables: Tables) -> None:
    for name in ("tables", "catalogue", "encoder"):
        (folder / name).mkdir()
    tables.save(folder / "tables")
    np.save(folder / "catalogue" / "item_keys.npy", ingredients.catalogue.keys)
    np.save(folder / "catalogue" / "item_codes.npy", ingredients.catalogue.codes)
    ingredients.encoder.save(folder / "encoder")
    ingredients.codebooks.save(folder / "encoder")
    ingredients.residuals.save(folder / "encoder")


def _texts(ingredients: Ingredients, model_version: int, parity: Parity) -> dict[str, str]:
    model, spec, split = ingredients.model, ingredients.spec, ingredients.held_out
    goldens = [answer(model, spec, ingredients.catalogue, r) for r in ingredients.requests]
    predicted = predict(model, split)
    if predicted.alpha_fusion is None:
        raise ExportError("the model gives no alpha_fusion: only ChoirRec becomes a bundle")
    _, first = np.unique(split.row_context, return_index=True)
    level = split.row_level
    sketch = reference_sketch(
        sigmoid(predicted.logit), level, predicted.alpha_fusion[first], level[first]
    )
    card = model_card(
        model_version,
        ingredients.lineage,
        ingredients.metrics,
        parity.max_difference,
        ingredients.report.evaluation,
        sketch,
    )
    return _report_texts(ingredients.report) | {
        "spec.json": spec.to_json(),
        "golden.json": golden_to_json(goldens),
        "prior_snapshot.json": snapshot_to_json(ingredients.snapshot),
        REFERENCE_FILE: sketch.to_json(),
        "model_card.md": card,
    }


def _report_texts(report: Report) -> dict[str, str]:
    size = len(report.page.encode())
    if size > MAX_EVALUATION_BYTES:
        raise ExportError(
            f"the report has {size} bytes, a bundle takes at most {MAX_EVALUATION_BYTES}; export "
            "with a table of fewer methods, or without --evidence; no bundle was written"
        )
    return {EVALUATION_FILE: report.evaluation.to_json(), REPORT_FILE: report.page}
