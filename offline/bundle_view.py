"""The bundle view: what a bundle is, in figures for programs and in words for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from model.bundle import GRAPHS, MANIFEST, Bundle
from model.evaluation import SEGMENTS

FIGURES = ("rows", "users", "auc", "gauc", "logloss", "pcoc")
MADE_FROM = ("dataset", "event", "preset", "losses", "seed", "generation", "grouping", "parity")
"""Members of the lineage that fit on a line."""
WIDTH = 15


def describe(bundle: Bundle) -> dict[str, Any]:
    """What a bundle is.

    Args:
        bundle: opened.

    Returns:
        Plain values, fit for JSON.
    """
    manifest, spec = bundle.manifest, bundle.spec
    return {
        "model_version": manifest.model_version,
        "digest": bundle.digest,
        "feature_contract": manifest.feature_contract,
        "parts": asdict(manifest.parts),
        "sizes_bytes": _sizes(bundle),
        "files": len(manifest.files) + 1,
        "catalogue_items": len(bundle.catalogue.keys),
        "user_rows": spec.user_rows,
        "token_width": bundle.tables.token_width,
        "attributes": [
            *(field.name for field in spec.attributes),
            *(field.name for field in spec.continuous),
        ],
        "item_fields": [field.name for field in spec.item_fields],
        "levels": spec.levels,
        "codes_per_level": spec.codes_per_level,
        "encoder": bundle.grouping.encoder.encoder_identity,
        "golden_requests": len(bundle.golden),
        "tolerances": dict(manifest.tolerances),
        "snapshot": {
            "generation": bundle.prior_snapshot.generation,
            "as_of_s": bundle.prior_snapshot.as_of_s,
            "priors": len(bundle.prior_snapshot.records),
        },
        "lineage": dict(manifest.lineage),
        "evaluation": asdict(bundle.evaluation),
        "reference": {
            name: {level: _shape(histogram) for level, histogram in levels.items()}
            for name, levels in (
                ("score", bundle.reference.score),
                ("alpha_fusion", bundle.reference.alpha_fusion),
            )
        },
    }


def told(described: Mapping[str, Any]) -> list[str]:
    """The same in lines for people.

    Args:
        described: what ``describe`` gave.
    """
    lineage, evaluation = described["lineage"], described["evaluation"]
    sizes, snapshot = described["sizes_bytes"], described["snapshot"]
    as_of = datetime.fromtimestamp(snapshot["as_of_s"], UTC).strftime("%Y-%m-%d %H:%M")
    figures = "Figures on {dataset} ({role}), {test_start} to {test_end}, seed {seed}"
    facts = {
        "manifest": f"SHA-256 {described['digest']}",
        "contract": described["feature_contract"],
        **{f"  {name}": digest for name, digest in described["parts"].items()},
        "made from": ", ".join(f"{name} {lineage[name]}" for name in MADE_FROM if name in lineage),
        "holds": f"{described['files']} files, " + _told_sizes(sizes),
        "knows": "{catalogue_items} items, {user_rows} user rows, {levels} levels of "
        "{codes_per_level} codes".format(**described),
        "users by": ", ".join(described["attributes"]),
        "items by": ", ".join(described["item_fields"]),
        "encoder": described["encoder"],
        "snapshot": f"{snapshot['priors']} priors of {snapshot['generation']}, as of {as_of} UTC",
        "golden": f"{described['golden_requests']} requests; within "
        + ", ".join(f"{most:g} on {name}" for name, most in described["tolerances"].items()),
    }
    heads = ["activity level", "candidates", "mean score", "requests", "mean alpha"]
    return [
        f"model version {described['model_version']}",
        *(f"{name:<13}{fact}" for name, fact in facts.items()),
        "",
        figures.format(**evaluation),
        *table(["", *FIGURES], _segments(evaluation["segments"])),
        "",
        f"Gains by {evaluation['measure']}",
        *(_gain(control) for control in evaluation["controls"]),
        "",
        "On rows that it did not learn from",
        *table(heads, _levels(described["reference"])),
    ]


def _told_sizes(sizes: Mapping[str, int]) -> str:
    each = ", ".join(f"{name} {size(held)}" for name, held in sizes.items())
    return f"{size(sum(sizes.values()))}: {each}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Rows of figures under their heads, the first column to the left.

    Args:
        head: of the columns.
        rows: as many values each; numbers that are not whole get four decimals, None a dash.
    """
    lines = [list(head), *([figure(value) for value in row] for row in rows)]
    first = max(len(line[0]) for line in lines)
    return [
        f"  {line[0]:<{first}}" + "".join(f"{value:>{WIDTH}}" for value in line[1:])
        for line in lines
    ]


def figure(value: object) -> str:
    """One figure; None is a dash."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def size(size_bytes: int) -> str:
    """A size for people."""
    mib = size_bytes / 2**20
    return f"{mib:,.1f} MiB" if mib >= 1 else f"{size_bytes / 2**10:,.1f} KiB"


def _sizes(bundle: Bundle) -> dict[str, int]:
    """Bytes by what they are for."""
    sizes = dict.fromkeys(("tables", "graphs", "catalogue", "encoder", "texts"), 0)
    graphs = {f"{name}.onnx" for name in GRAPHS}
    for name in (*bundle.manifest.files, MANIFEST):
        folder = name.split("/")[0]
        kind = "graphs" if name in graphs else folder if folder in sizes else "texts"
        sizes[kind] += (bundle.folder / name).stat().st_size
    return sizes


def _shape(histogram: Any) -> dict[str, object]:
    return {"values": histogram.total, "bins": len(histogram.counts), "mean": histogram.mean}


def _segments(segments: Mapping[str, Mapping[str, object]]) -> Iterable[list[object]]:
    for name in SEGMENTS:
        yield [name.replace("_", " "), *(segments[name][figure] for figure in FIGURES)]


def _levels(reference: Mapping[str, Mapping[int, Mapping[str, object]]]) -> Iterable[list[object]]:
    for level, score in reference["score"].items():
        alpha = reference["alpha_fusion"][level]
        yield [str(level), score["values"], score["mean"], alpha["values"], alpha["mean"]]


def _gain(control: Mapping[str, Any]) -> str:
    low, overall = (_interval(control[name]) for name in ("low", "overall"))
    return f"  over {control['title']}: low-activity users {low}, all users {overall}"


def _interval(gain: Mapping[str, float | None] | None) -> str:
    if gain is None or gain["value"] is None:
        return "not measured"
    ends = (gain["low"], gain["high"])
    between = "" if None in ends else f" ({ends[0]:+.2%} to {ends[1]:+.2%})"
    return f"{gain['value']:+.2%}{between}"
