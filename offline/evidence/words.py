"""Words: what an interval says, in a sentence that claims neither more nor less."""

import math
from collections.abc import Iterable, Mapping

from offline.evidence.findings import Findings
from offline.evidence.statistics import Interval
from offline.evidence.tables import MethodRow, StudyTables

QUICK = "Quick run: it shows that every part works. It makes no claim."
NO_CLAIM = "No claim: claims are made from a full run on data that nothing was chosen on."
NO_INTERVAL = "no interval: a single cell"
MEASURES = {
    ("panel", True): "soft-label GAUC on the panel",
    ("test", True): "soft-label GAUC on the test rows",
    ("test", False): "GAUC on the test rows",
    ("panel", False): "GAUC on the panel",
}


def percent(share: float, signed: bool = True) -> str:
    """A share as a percentage of two decimals."""
    if math.isnan(share):
        return "-"
    return f"{100 * share:+.2f} %" if signed else f"{100 * share:.2f} %"


def score(value: float) -> str:
    """A metric with four decimals, as the paper writes it."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def bracket(interval: Interval) -> str:
    """The interval's ends as percentages."""
    if math.isnan(interval.low):
        return "-"
    return f"[{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def told(interval: Interval) -> str:
    """A relative change with its interval."""
    return f"{percent(interval.value)} {bracket(interval)}"


def verdict(judged: Interval, quick: bool = False) -> str:
    """What may be said of a difference.

    Args:
        judged: the interval that counts, corrected where it belongs to a family.
        quick: a run that makes no claim.

    Returns:
        A few words; a null tells what could have been seen.
    """
    if quick:
        return "quick: no claim"
    if math.isnan(judged.low):
        return NO_INTERVAL
    if judged.contains_zero:
        size = percent(judged.detectable, signed=False)
        return f"contains 0: no evidence at this size; could have shown {size}"
    return "above 0" if judged.low > 0 else "below 0"


def cells(row: MethodRow) -> str:
    """How many cells a row rests on, and whether that is all."""
    if row.finished == row.wanted:
        return str(row.finished)
    return f"{row.finished} of {row.wanted}: unfinished"


def caution(tables: StudyTables) -> str:
    """What intervals cannot know of a study so small; nothing where it is large enough."""
    cells_of_subject = max((row.wanted for row in tables.methods), default=0)
    if cells_of_subject > len(tables.datasets):
        return ""
    return " One seed: the intervals know of users alone, and a seed moves a figure by more."


def probability(p: float) -> str:
    """A p value for people."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def primary(tables: StudyTables) -> str:
    """What the primary figures of a study are."""
    low, overall = (MEASURES[tables.measures[segment]] for segment in ("low", "overall"))
    if low == overall:
        return low
    return f"{low} for low-activity users, {overall} for all"


def headlines(tables: StudyTables, quick: bool) -> list[str]:
    """What a study confirms of groups, each sentence beside what the paper tells.

    Args:
        tables: of the study.
        quick: a run that makes no claim.

    Returns:
        One sentence per compared method and for the slope; none of a quick run, and none of
        data that choices were made on.
    """
    if quick or tables.role != "confirmation":
        return []
    lines = []
    for row in tables.methods:
        gain = row.gains.get("primary_low")
        if gain is not None and gain.corrected is not None:
            kind = " (the control for groups)" if row.method == tables.control else ""
            beside = "" if gain.paper is None else f"; the paper tells {percent(gain.paper)}"
            lines.append(
                f"{tables.subject} over {row.title}{kind}, low-activity users:"
                f" {told(gain.judged)}, {verdict(gain.judged)}{beside}."
            )
    if tables.levels is not None:
        net = tables.levels.slopes[2]
        lines.append(f"Gain net of permuted groups changes by {told(net)} a level: {verdict(net)}.")
    return lines


def unfinished(findings: Findings) -> list[str]:
    """The unfinished cells, one line per data set and method."""
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for dataset, method, preset, seed in findings.unfinished:
        seeds.setdefault((dataset, method, preset), []).append(seed)
    return [
        f"{dataset}, {method}, preset {preset}: seeds {_listed(of)}"
        for (dataset, method, preset), of in seeds.items()
    ]


def sources(findings: Findings) -> Mapping[str, str]:
    """Provenance of the data sets that have figures."""
    used = {dataset for tables in findings.studies for dataset in tables.datasets}
    return {name: text for name, text in findings.provenance.items() if name in used}


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(str(seed) for seed in sorted(seeds))
