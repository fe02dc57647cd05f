"""The runner: cells are measured once, kept together, and found again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from offline.evidence.cells import Bench, Cell, Source
from offline.evidence.measurement import measured, tables_of
from offline.evidence.plan import cells
from offline.evidence.results import RESULTS_FILE, Results, read_results
from offline.evidence.runner import Outcome, run_cells
from tests.fixtures.tiny_log import TINY_PRESET, write_log

METHODS = ("popularity", "din", "choirrec", "choirrec_permuted", "cold_transformer")
QUICK = TINY_PRESET.shortened("quick")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny log."""
    folder = tmp_path_factory.mktemp("evidence")
    write_log(folder / "log")
    return folder


def wanted(place: Path, methods: Sequence[str] = METHODS, seeds: int = 2) -> list[Cell]:
    """Cells on the tiny log."""
    source = Source("tiny", "design", mapping=place / "log" / "mapping.toml")
    return cells([source], methods, seeds)


@pytest.fixture(scope="module")
def run(place: Path) -> tuple[Outcome, Results, list[str]]:
    """All cells measured on one worker, what stands in the table, and what was said."""
    lines: list[str] = []
    outcome = run_cells(Bench(place, QUICK), wanted(place), place / "results", 1, lines.append)
    return outcome, read_results(place / "results"), lines


@pytest.mark.slow
def test_every_cell_is_in_the_table_with_its_users(run: tuple[Outcome, Results, list[str]]) -> None:
    """Each method and seed has its metrics, and the AUC of every user of the test rows."""
    outcome, results, lines = run
    assert not outcome.failed
    found = set(zip(*(results.rows[c].to_pylist() for c in ("method", "seed")), strict=True))
    assert found == {(cell.method, cell.seed) for cell in outcome.finished}
    assert ("popularity", 1) not in found
    assert {"auc", "gauc", "logloss"} <= set(results.rows["metric"].to_pylist())
    assert lines[0].startswith("9 cells on 1 workers")
    assert lines[-1].startswith("  [9/9] ")
    assert lines[-1].endswith("all done")


@pytest.mark.slow
def test_the_tables_gauc_is_that_of_its_users(run: tuple[Outcome, Results, list[str]]) -> None:
    """What statistics are made of and what is shown are the same figures."""
    _, results, _ = run
    rows = results.rows.filter((pc.field("metric") == "gauc") & (pc.field("segment") == "overall"))
    for row in rows.to_pylist():
        own = (pc.field("method") == row["method"]) & (pc.field("seed") == row["seed"])
        users = results.users.filter(own)
        auc, weight = users["auc"].to_numpy(), users["rows"].to_numpy()
        known = np.isfinite(auc)
        assert np.average(auc[known], weights=weight[known]) == pytest.approx(row["value"])


@pytest.mark.slow
def test_a_second_run_measures_nothing_and_changes_nothing(
    place: Path, run: tuple[Outcome, Results, list[str]]
) -> None:
    """Finished cells are found; the table's bytes stay."""
    before = (place / "results" / RESULTS_FILE).read_bytes()
    cell = measured(Bench(place, QUICK), wanted(place)[1])
    stamp = cell.folder.stat().st_mtime_ns
    again = run_cells(Bench(place, QUICK), wanted(place)[:2], place / "results", 1, _silent)
    assert not again.failed
    assert cell.folder.stat().st_mtime_ns == stamp
    assert (place / "results" / RESULTS_FILE).read_bytes() == before


@pytest.mark.slow
def test_a_cell_measured_elsewhere_is_the_same_to_the_bit(
    place: Path, run: tuple[Outcome, Results, list[str]], tmp_path: Path
) -> None:
    """A rerun of any cell in a fresh store reproduces its figures exactly."""
    cell = next(one for one in wanted(place) if one.method == "choirrec_permuted")
    first, again = (tables_of(measured(Bench(root, QUICK), cell)) for root in (place, tmp_path))
    for found, expected in zip(again, first, strict=True):
        for name in set(expected.column_names) - {"cpu_s"}:
            values, wanted_values = found[name].to_numpy(), expected[name].to_numpy()
            same = values.dtype.kind == "f"
            assert np.array_equal(values, wanted_values, equal_nan=same), name


@pytest.mark.slow
def test_a_failing_cell_is_named_and_the_others_go_on(place: Path, tmp_path: Path) -> None:
    """A method that is not known fails by name; the cell after it is measured."""
    good = wanted(place, ["popularity"], 1)
    bad = [replace(good[0], method="nobody")]
    outcome = run_cells(Bench(place, QUICK), [*bad, *good], tmp_path, 1, _silent)
    assert [cell.method for cell in outcome.finished] == ["popularity"]
    ((cell, error),) = outcome.failed
    assert cell.method == "nobody"
    assert "no method 'nobody'" in error


PROGRAM = """
import sys
from pathlib import Path
from tests.unit.offline.evidence.test_runner import Bench, QUICK, run_cells, wanted

if __name__ == "__main__":
    place, root = Path(sys.argv[1]), Path(sys.argv[2])
    run_cells(Bench(root, QUICK), wanted(place, ["din"], 1), root / "results", 1, print)
"""


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_worker_behind(place: Path, tmp_path: Path) -> None:
    """After an interrupt the workers are gone, and the same words finish what was begun."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = [sys.executable, str(program), str(place), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    while not list((tmp_path / "artefacts").glob("training/*.building")):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    deadline = time.monotonic() + 30
    while _alive(process.pid) and time.monotonic() < deadline:
        pass
    assert not _alive(process.pid)
    finished = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert "[1/1]" in finished.stdout


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _silent(line: str) -> None:
    """Say nothing."""
