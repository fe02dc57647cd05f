"""The model card: what a bundle is, for the person who decides whether it may serve."""

import json
from collections.abc import Mapping
from typing import Any

from model.evaluation import Evaluation
from model.reference import ReferenceSketch
from offline.distillation import collapse

LEVELS = 5
EVENTS = {"click": "a click on", "exposure": "an exposure of"}
GROUPS = {
    "aligned": "Its groups hold users who, by what was known of them, were likely to buy alike.",
    "profiles": "Its groups hold users whose profiles mean alike.",
}
INTENDED = """\
Estimates the probability that {event} an item becomes a purchase, for one user and many
candidate items at a time. The group channel answers for users whose own history says little.
It ranks candidates; it is not made to set prices, to decide on credit or eligibility, or to infer
traits of a person. {groups}"""
LIMITS = """\
- It says nothing about items that were never shown, nor about what it was not trained on.
- A user's semantic group comes from attributes, purchases and queries. Where attributes carry a
  social bias, groups carry it on; compare the metrics by activity level, and by attribute where
  the law asks for it.
- Scores are probabilities only as far as the row `pcoc` (predicted over observed) is near 1.
- The figures above are of one data set and one seed: differences in the third decimal are noise
  until several seeds agree."""

INVERTED = """\
users who do least are the ones for whom it trusts groups least. Expected is the reverse; look at
the figures of low-activity users before it serves."""


def model_card(
    model_version: int,
    lineage: Mapping[str, Any],
    metrics: Mapping[str, Any],
    parity: float,
    evaluation: Evaluation,
    reference: ReferenceSketch,
) -> str:
    """Write the card; every figure comes from the arguments.

    Args:
        model_version: the bundle's version.
        lineage: where it comes from; ``provenance`` is quoted, ``event`` (click by default) says
            what was scored, ``groups`` (aligned by default) how they came about,
            ``alpha_distill`` its mean on qualified training rows, and the rest is listed.
        metrics: figures by name, ``<metric>_low``, ``_overall`` and ``_levels`` (five values).
        parity: largest relative difference between training's logits and the graphs'.
        evaluation: what the model was measured beside.
        reference: how much the model trusts groups, by activity level.

    Returns:
        Markdown under a YAML head, as catalogues of models read it.
    """
    listed = {name: value for name, value in lineage.items() if name != "provenance"}
    return "\n".join(
        [
            *_head(lineage),
            f"# ChoirRec, model version {model_version}",
            "",
            "## What it is for",
            INTENDED.format(
                event=EVENTS[lineage.get("event", "click")],
                groups=GROUPS[lineage.get("groups", "aligned")],
            ),
            "",
            "## Data",
            str(lineage.get("provenance", "No provenance was given.")),
            "",
            "## Figures",
            *_table(metrics),
            "",
            f"Network and exported graphs differ by {parity:.2e} of max(1, |logit|) at most.",
            "",
            "## Controls",
            *_controls(evaluation),
            "",
            "## Trust in groups",
            *_trust(reference),
            "",
            "## Distillation",
            _distillation(lineage.get("alpha_distill")),
            "",
            "## Limits",
            LIMITS,
            "",
            "## Lineage",
            "```json",
            json.dumps(listed, indent=1, sort_keys=True, default=str),
            "```",
            "",
        ]
    )


def _head(lineage: Mapping[str, Any]) -> list[str]:
    head: dict[str, str | list[str]] = {
        "library_name": "choirrec",
        "tags": ["conversion-rate", "cold-start", "onnx"],
    }
    if "dataset" in lineage:
        head["datasets"] = [str(lineage["dataset"])]
    # JSON is YAML.
    return ["---", *(f"{name}: {json.dumps(value)}" for name, value in head.items()), "---", ""]


def _trust(reference: ReferenceSketch) -> list[str]:
    means = {n: told.mean for n, told in reference.alpha_fusion.items() if told.mean is not None}
    if not means:
        return ["No row was held out: `alpha_fusion` was not measured."]
    lines = [
        "Mean `alpha_fusion` on held-out requests, the weight of the group channel.",
        "",
        "| " + " | ".join(f"level {level}" for level in means) + " |",
        "| " + " | ".join("---" for _ in means) + " |",
        "| " + " | ".join(map(_figure, means.values())) + " |",
    ]
    if means[min(means)] < means[max(means)]:
        lines += ["", f"**Warning**: {INVERTED}"]
    return lines


def _distillation(alpha_distill: float | None) -> str:
    if alpha_distill is None:
        return "No training row was qualified to teach: `alpha_distill` was not measured."
    figure = f"Mean `alpha_distill` on qualified training rows: {alpha_distill:.2g}."
    warning = collapse(alpha_distill)
    return f"{figure}\n\n**Warning**: {warning}." if warning else figure


def _controls(evaluation: Evaluation) -> list[str]:
    head = (
        f"Relative gain of {evaluation.measure}, low-activity users, 95 % intervals; without both"
        " controls nothing is known of what groups add. More in `evaluation.html`."
    )
    lines = [head, ""]
    for control in evaluation.controls:
        rests = f", {control.seeds} seeds" if control.seeds else ""
        lines.append(f"- Over {control.title}: {control.low or 'not measured'}{rests}")
    return lines


def _table(metrics: Mapping[str, Any]) -> list[str]:
    names = sorted({name.removesuffix("_low") for name in metrics if name.endswith("_low")})
    if not names:
        return ["No figures were given."]
    heads = ["metric", "low-activity", "overall", *[f"level {n}" for n in range(1, LEVELS + 1)]]
    lines = [heads, ["---"] * len(heads)]
    for name in names:
        levels = metrics.get(f"{name}_levels") or [None] * LEVELS
        figures = [metrics.get(f"{name}_low"), metrics.get(f"{name}_overall"), *levels]
        lines.append([name, *map(_figure, figures)])
    return ["| " + " | ".join(line) + " |" for line in lines]


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
