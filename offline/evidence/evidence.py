"""The evidence: from planned cells to the report, the tables and the figures by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.whole_file import whole_file
from offline.evidence.cells import Bench, Cell
from offline.evidence.findings import Findings, find
from offline.evidence.markdown import evidence as evidence_tables
from offline.evidence.markdown import short, update
from offline.evidence.report import write_report
from offline.evidence.results import read_results
from offline.evidence.runner import Outcome, Say, run_cells
from offline.methods.registry import METHODS

FIGURES_FILE = "paper.json"
REPORT_FILE = "paper.html"


@dataclass(frozen=True)
class Documents:
    """Where the generated tables stand between their markers."""

    evidence: Path = Path("docs/evidence.md")
    readme: Path = Path("README.md")


def gather(
    bench: Bench,
    cells: Sequence[Cell],
    results: Path,
    workers: int,
    quick: bool = False,
    say: Say = print,
) -> Outcome:
    """Measure cells and write what they show.

    Args:
        bench: where and how.
        cells: what is wanted; cells of earlier runs stay in the table.
        results: folder of the table, ``paper.json`` and ``paper.html``.
        workers: processes, one thread each.
        quick: whether this is for a look alone: stamped everywhere, and no claim.
        say: told what happens.

    Returns:
        What was done.
    """
    outcome = run_cells(bench, cells, results, workers, say)
    findings = found(bench, cells, results, quick)
    with whole_file(results / FIGURES_FILE) as partial:
        partial.write_text(findings.to_json(), encoding="utf-8")
    write_report(findings, results / REPORT_FILE)
    say(f"  {results / REPORT_FILE}, {results / FIGURES_FILE}")
    return outcome


def found(bench: Bench, cells: Iterable[Cell], results: Path, quick: bool = False) -> Findings:
    """What the finished cells show, and which of the wanted ones are missing."""
    wanted = list(cells)
    sources = dict.fromkeys(cell.source for cell in wanted)
    return find(
        read_results(results),
        planned=[(c.source.name, c.method, bench.preset.name, c.seed) for c in wanted],
        titles={name: method.title for name, method in METHODS.items()},
        provenance={s.name: bench.pipeline(s).tables().schema.provenance for s in sources},
        quick=quick,
    )


def tell(findings: Findings, documents: Documents) -> None:
    """Put the tables into the documents; away from a checkout there are none to tell.

    Raises:
        QuickFindings: when the run was for a look alone.
    """
    if documents.evidence.is_file():
        update(documents.evidence, "evidence", evidence_tables(findings))
    if documents.readme.is_file():
        update(documents.readme, "evidence", short(findings))
