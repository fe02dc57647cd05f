"""The bundle diff: what changed from one bundle to another, and whether records fit both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.evaluation import SEGMENTS
from model.fusion import fuse
from model.spec import FIRST_CODE, DiscreteField
from offline.bundle_check import answer, graph_runner
from offline.bundle_view import FIGURES, table

PARTS = ("schema", "encoder", "codebooks", "spec")
FIELDS = ("attributes", "context", "categories", "side")
"""Members of the spec that hold vocabularies."""
FIGURES_COMPARED = tuple(name for name in FIGURES if name not in ("rows", "users"))


def compare(old: Bundle, new: Bundle) -> dict[str, Any]:
    """What changed.

    Args:
        old: one bundle.
        new: another one.

    Returns:
        Plain values, fit for JSON; ``parts``, ``spec`` and ``vocabularies`` hold differences only.
    """
    parts = (asdict(old.manifest.parts), asdict(new.manifest.parts))
    same_contract = old.manifest.feature_contract == new.manifest.feature_contract
    return {
        "versions": [old.manifest.model_version, new.manifest.model_version],
        "same_bytes": old.digest == new.digest,
        "same_contract": same_contract,
        "parts": {n: [parts[0][n], parts[1][n]] for n in PARTS if parts[0][n] != parts[1][n]},
        "spec": dict(_spec(old, new)),
        "vocabularies": dict(_vocabularies(old, new)),
        "items": _items(old, new),
        "tables": dict(_tables(old, new)),
        "figures": _figures(old, new),
        "reference": _reference(old, new),
        "golden": _golden(old, new) if same_contract else None,
    }


def told(compared: Mapping[str, Any]) -> list[str]:
    """The same in lines for people.

    Args:
        compared: what ``compare`` gave.
    """
    old, new = compared["versions"]
    if compared["same_bytes"]:
        return [f"version {old} and version {new} are one and the same bundle, byte for byte"]
    return [
        f"from version {old} to version {new}",
        *_told_contract(compared),
        *(f"spec {name}: {a} -> {b}" for name, (a, b) in compared["spec"].items()),
        *(
            f"vocabulary of {name}: {change['added']} values more, {change['removed']} fewer"
            for name, change in compared["vocabularies"].items()
        ),
        "items: {both} in both, {added} more, {removed} fewer".format(**compared["items"]),
        "",
        "Tables, rows that both have",
        *table(["", "rows", "largest change", "mean change"], _told_tables(compared["tables"])),
        "",
        "Figures",
        *table(["", *(f"{n} {w}" for n in FIGURES_COMPARED for w in ("old", "new"))],
               ([name, *row] for name, row in compared["figures"].items())),
        "",
        "Means on rows that they did not learn from",
        *table(["activity level", "score old", "score new", "alpha old", "alpha new"],
               ([level, *row] for level, row in compared["reference"].items())),
        "",
        _told_golden(compared["golden"]),
    ]  # fmt: skip


def _told_contract(compared: Mapping[str, Any]) -> list[str]:
    if compared["same_contract"]:
        return ["one feature contract: any generation that serves one of them serves the other"]
    line = (
        f"feature contracts differ in {', '.join(compared['parts'])}: no generation serves both; "
        "publish one for the new version before it is promoted"
    )
    return [line]


def _told_tables(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[list[object]]:
    for name, change in tables.items():
        title = f"{name} ({change['of']})" if change["of"] else name
        yield [title, change["rows"], change["largest"], change["mean"]]


def _told_golden(golden: Mapping[str, float] | None) -> str:
    if golden is None:
        return (
            "golden requests: not compared, since records of one contract mean nothing in another"
        )
    return (
        "golden requests of the old, answered by the new, differ at most by: individual_logit "
        "{individual_logit:.4g}, group_logit {group_logit:.4g}, alpha_fusion {alpha_fusion:.4g}, "
        "score {score:.4g}".format(**golden)
    )


def _spec(old: Bundle, new: Bundle) -> Iterator[tuple[str, list[object]]]:
    """Members that are plain values, and the names of fields."""
    before, after = asdict(old.spec), asdict(new.spec)
    for name in before:
        one, other = before[name], after[name]
        if name in FIELDS:
            one, other = ([field["name"] for field in fields] for fields in (one, other))
        if one != other:
            yield name, [one, other]


def _vocabularies(old: Bundle, new: Bundle) -> Iterator[tuple[str, dict[str, int]]]:
    for name, (one, other) in _shared_fields(old, new).items():
        if one.values != other.values:
            before, after = set(one.values), set(other.values)
            yield name, {"added": len(after - before), "removed": len(before - after)}


def _shared_fields(old: Bundle, new: Bundle) -> dict[str, tuple[DiscreteField, DiscreteField]]:
    before = {f"{side}.{f.name}": f for side in FIELDS for f in getattr(old.spec, side)}
    after = {f"{side}.{f.name}": f for side in FIELDS for f in getattr(new.spec, side)}
    return {name: (before[name], after[name]) for name in before if name in after}


def _items(old: Bundle, new: Bundle) -> dict[str, int]:
    before, after = old.catalogue.keys, new.catalogue.keys
    both = len(np.intersect1d(before, after, assume_unique=True))
    return {"both": both, "added": len(after) - both, "removed": len(before) - both}


def _tables(old: Bundle, new: Bundle) -> Iterator[tuple[str, dict[str, object]]]:
    """Tables by name, their rows matched by what they stand for."""
    before, after = old.tables.arrays(), new.tables.arrays()
    for name in before:
        if name in after:
            matched = _matched(name, old, new, before[name], after[name])
            yield name, {"of": _of(name, old), **_change(*matched)}


def _matched(
    name: str,
    old: Bundle,
    new: Bundle,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if name == "item_tokens":
        _, one, other = np.intersect1d(old.catalogue.keys, new.catalogue.keys, True, True)
        return before[one + FIRST_CODE], after[other + FIRST_CODE]
    fields = [_field(name, bundle) for bundle in (old, new)]
    if None not in fields:
        one, other = fields
        known = set(other.values)
        shared = [value for value in one.values if value in known]
        return before[_codes(one, shared)], after[_codes(other, shared)]
    return before, after


def _field(name: str, bundle: Bundle) -> Any:
    """The field whose values a table's rows stand for; None where they stand for something else."""
    stem, _, number = name.rpartition("_")
    sides = {"attribute": "attributes", "context": "context", "item_field": "item_fields"}
    return getattr(bundle.spec, sides[stem])[int(number)] if stem in sides else None


def _of(name: str, bundle: Bundle) -> str | None:
    field = _field(name, bundle)
    return field.name if field else None


def _codes(field: DiscreteField, values: Sequence[str]) -> NDArray[np.int64]:
    return np.array([field.code(value) for value in values], np.int64)


def _change(before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, object]:
    if before.shape != after.shape:
        return {"rows": f"{before.shape}, {after.shape}", "largest": None, "mean": None}
    if not before.size:
        return {"rows": 0, "largest": None, "mean": None}
    difference = np.abs(after - before)
    return {
        "rows": len(before),
        "largest": float(difference.max()),
        "mean": float(difference.mean()),
    }


def _figures(old: Bundle, new: Bundle) -> dict[str, list[float | None]]:
    return {
        segment: [
            getattr(bundle.evaluation.segments[segment], name)
            for name in FIGURES_COMPARED
            for bundle in (old, new)
        ]
        for segment in SEGMENTS
    }


def _reference(old: Bundle, new: Bundle) -> dict[str, list[float | None]]:
    return {
        str(level): [
            getattr(bundle.reference, name)[level].mean
            for name in ("score", "alpha_fusion")
            for bundle in (old, new)
        ]
        for level in old.reference.score
    }


def _golden(old: Bundle, new: Bundle) -> dict[str, float]:
    """Largest differences when the new bundle answers the old one's golden requests."""
    runner = graph_runner(new)
    worst = dict.fromkeys(("individual_logit", "group_logit", "alpha_fusion", "score"), 0.0)
    for golden in old.golden:
        found = answer(new, runner, golden)
        columns = [np.array([golden.individual_logits], np.float32),
                   np.array([golden.group_logits], np.float32),
                   np.array([[golden.alpha_fusion]], np.float32)]  # fmt: skip
        pairs = [
            *zip(columns, found.arrays, strict=True),
            (fuse(*columns).score, fuse(*found.arrays).score),
        ]
        for name, (one, other) in zip(worst, pairs, strict=True):
            worst[name] = max(worst[name], float(np.abs(one - other).max()))
    return worst
