"""Sections: one study's tables as rows of texts, the same for HTML and Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from offline.evidence import paper, words
from offline.evidence.tables import FIGURES, ITEM_SLICES, Figure, MethodRow, StudyTables
from offline.evidence.words import bracket, percent, probability, score, told, verdict

_SHOWN = 5e-5
"""The least spread that four decimals show."""
_CHANGE = ("95 %", "Detectable", "Paper")
_TURNED = ("Variant", "Low", *_CHANGE, "Overall", *_CHANGE, "Cells", "In words, low")


@dataclass(frozen=True)
class TextTable:
    """A table of texts."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def scores(tables: StudyTables) -> TextTable:
    """Table 1: every method's AUC and GAUC, the paper's beside ours."""
    return TextTable(
        f"Table 1. Mean (standard deviation between seeds). GAUC: {words.primary(tables)}. AUC:"
        " all test rows. The paper's figures are of other data.",
        (
            "Method",
            "AUC low",
            "paper",
            "AUC overall",
            "paper",
            "GAUC low",
            "paper",
            "GAUC overall",
            "paper",
            "Cells",
            "Dense parameters",
            "Table parameters",
        ),
        tuple(_score_row(row) for row in tables.methods),
    )


def gains(tables: StudyTables, segment: str, quick: bool) -> TextTable:
    """ChoirRec over each other method, corrected over the table."""
    name = f"primary_{segment}"
    users = {"low": "low-activity users", "overall": "all users"}[segment]
    measure = words.MEASURES[tables.measures[segment]]
    return TextTable(
        f"{tables.subject} over each method, {users}: relative gain of {measure}, 95 % intervals;"
        f" Holm over the rows that have a corrected interval.{words.caution(tables)}",
        ("Over", "Gain", "95 %", "Holm 95 %", "Holm p", "Detectable", "Paper", "In words"),
        tuple(_gain_row(row, name, quick) for row in tables.methods if name in row.gains),
    )


def ablations(tables: StudyTables, quick: bool) -> TextTable:
    """Table 2: what each part is worth."""
    return TextTable(
        f"Table 2. Relative change of GAUC against {tables.subject}; no correction, no pass mark."
        " Detectable: the smallest true change found four times in five",
        _TURNED,
        tuple(_turned_row(row.title, row, paper.TABLE_2, quick) for row in tables.ablations),
    )


def sweep(tables: StudyTables, parameter: str, quick: bool) -> TextTable:
    """Figure 6: one hyperparameter, the others as they are."""
    points = {"k": tables.codes_sweep, "lambda": tables.weight_sweep}[parameter]
    best = {"k": paper.BEST_CODES_PER_LEVEL, "lambda": paper.BEST_DISTILLATION_WEIGHT}[parameter]
    return TextTable(
        f"Figure 6, {parameter}: relative change of GAUC against {tables.subject}. The paper's best"
        f" is {best:g}",
        (parameter, *_TURNED[1:]),
        tuple(_turned_row(f"{point.value:g}", point.row, {}, quick) for point in points),
    )


def levels(tables: StudyTables, quick: bool) -> TextTable:
    """Figure 5: gains by activity level, and what is left of them net of the control."""
    found = tables.levels
    if found is None:
        return TextTable("Figure 5", (), ())
    rows = [
        (f"Level {n}", *(told(one) for one in of), percent(paper.LEVEL_GAINS.get(n, float("nan"))))
        for n, of in enumerate(
            zip(found.over_base, found.permuted_over_base, found.net, strict=True), start=1
        )
    ]
    slopes = ("Slope per level", *(told(one) for one in found.slopes), "falls")
    said = ("In words", *(verdict(one, quick) for one in found.slopes), "")
    return TextTable(
        f"Figure 5. Relative gain of {words.MEASURES[tables.measures['levels']]} by activity level"
        " (1 = lowest); net: over permuted groups",
        ("", f"{tables.subject} over base", "Permuted over base", "Net of permuted", "Paper"),
        (*rows, slopes, said),
    )


def trust(tables: StudyTables) -> TextTable:
    """alpha_fusion by activity level, the controls beside it."""
    return TextTable(
        "Mean alpha_fusion by activity level, test rows. It falls under permuted groups, too: by"
        " itself it shows nothing. Intervals of the ratio: worlds and seeds",
        ("Method", *(f"L{n}" for n in range(1, 6)), "L1 / L5", "95 %"),
        (
            *(
                (
                    one.title,
                    *(f"{level:.3f}" for level in one.levels),
                    f"{one.ratio.value:.2f}",
                    _ends(one.ratio.low, one.ratio.high),
                )
                for one in tables.trust
            ),
            ("Paper", *[""] * 5, f"{paper.ALPHA_RATIO:.1f}", ""),
        ),
    )


def groups(tables: StudyTables) -> TextTable:
    """How alike members are, the control beside it."""
    return TextTable(
        "Members of the groups: mean attribute consistency, and the share of purchases in the"
        " group's 50 most bought leaf categories",
        ("Groups of", "Attribute consistency", "Top 50"),
        (
            *(
                (
                    one.title,
                    percent(one.consistency, signed=False),
                    percent(one.top50_share, signed=False),
                )
                for one in tables.groups
            ),
            (
                "Paper",
                percent(paper.CONSISTENCY, signed=False),
                percent(paper.TOP50_SHARE, signed=False),
            ),
        ),
    )


def secondary(tables: StudyTables) -> TextTable:
    """Every other figure: outcomes of the test rows."""
    names = [f"{metric}_{segment}" for metric in FIGURES for segment in ("low", "overall")]
    return TextTable(
        "Secondary: outcomes of the test rows; pcoc is mean prediction over mean label",
        ("Method", *(name.replace("_", " ") for name in names)),
        tuple(
            (row.title, *(_mean(row.figures.get(name)) for name in names)) for row in tables.methods
        ),
    )


def items(tables: StudyTables) -> TextTable:
    """Rare and frequent items apart."""
    names = [f"{metric}_{part}" for metric in ("auc", "gauc") for part in ITEM_SLICES]
    rows = [row for row in tables.methods if names[0] in row.figures]
    return TextTable(
        "Test rows of items that were bought under 100 times before training (rare), and of others."
        f" Gains of {tables.subject} in GAUC; intervals: worlds and seeds, without correction",
        (
            "Method",
            *("AUC rare", "AUC frequent", "GAUC rare", "GAUC frequent"),
            *("Gain, rare", "Gain, frequent"),
        ),
        tuple(
            (
                row.title,
                *(_mean(row.figures.get(name)) for name in names),
                *(_relative(row, f"gauc_{part}") for part in ITEM_SLICES),
            )
            for row in rows
        ),
    )


def by_dataset(tables: StudyTables) -> TextTable:
    """The primary figures of every data set on its own."""
    return TextTable(
        "GAUC by data set, low-activity users and all: mean (standard deviation between seeds)",
        ("Method", *(f"{data}, {s}" for data in tables.datasets for s in ("low", "overall"))),
        tuple(_dataset_row(row, tables.datasets) for row in tables.methods),
    )


def _score_row(row: MethodRow) -> tuple[str, ...]:
    theirs = paper.TABLE_1.get(row.method)
    told_there = (
        ("", "", "", "")
        if theirs is None
        else tuple(
            score(one)
            for one in (theirs.auc_low, theirs.auc_overall, theirs.gauc_low, theirs.gauc_overall)
        )
    )
    names = ("auc_low", "auc_overall", "primary_low", "primary_overall")
    ours = [_mean(row.figures.get(name)) for name in names]
    pairs = [text for pair in zip(ours, told_there, strict=True) for text in pair]
    sizes = (f"{row.dense_parameters:,}", f"{row.table_parameters:,}")
    return (row.title, *pairs, words.cells(row), *sizes)


def _gain_row(row: MethodRow, name: str, quick: bool) -> tuple[str, ...]:
    gain = row.gains[name]
    corrected = gain.corrected
    return (
        row.title if row.finished == row.wanted else f"{row.title} ({words.cells(row)})",
        percent(gain.relative.value),
        bracket(gain.relative),
        "" if corrected is None else bracket(corrected),
        "" if corrected is None else probability(corrected.p),
        percent(gain.judged.detectable, signed=False),
        "" if gain.paper is None else percent(gain.paper),
        verdict(gain.judged, quick),
    )


def _turned_row(
    title: str, row: MethodRow, theirs: dict[str, tuple[float, float]], quick: bool
) -> tuple[str, ...]:
    cells: list[str] = []
    for place, segment in enumerate(("low", "overall")):
        gain = row.gains.get(f"primary_{segment}")
        there = percent(theirs[title][place]) if title in theirs else ""
        if gain is None:
            cells += ["-", "-", "-", there]
        else:
            size = percent(gain.relative.detectable, signed=False)
            cells += [percent(gain.relative.value), bracket(gain.relative), size, there]
    low = row.gains.get("primary_low")
    said = "-" if low is None else verdict(low.relative, quick)
    return (title, *cells, words.cells(row), said)


def _dataset_row(row: MethodRow, datasets: Sequence[str]) -> tuple[str, ...]:
    cells = []
    for dataset in datasets:
        for segment in ("low", "overall"):
            figure = row.figures.get(f"primary_{segment}")
            found = None if figure is None else figure.by_dataset.get(dataset)
            cells.append("-" if found is None else _spread(*found))
    return (row.title, *cells)


def _relative(row: MethodRow, name: str) -> str:
    return told(row.gains[name].relative) if name in row.gains else "-"


def _mean(figure: Figure | None) -> str:
    return "-" if figure is None else _spread(figure.mean, figure.spread)


def _spread(mean: float, spread: float) -> str:
    return score(mean) if not spread >= _SHOWN else f"{score(mean)} ({score(spread)})"


def _ends(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]"
