"""The runner: measures cells in worker processes, and goes on where it was stopped."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from offline.artefacts import Artefact
from offline.evidence.cells import Bench, Cell, Source
from offline.evidence.costs import Costs, told
from offline.evidence.measurement import measured, tables_of
from offline.evidence.results import read_results, write_results

Say = Callable[[str], None]
WORKER = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
"""A worker stays on one core, and leaves speaking to the runner."""


class CellsFailed(Exception):
    """Cells that could not be measured."""


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    finished: tuple[Cell, ...]
    """In the table now, found or measured."""
    failed: tuple[tuple[Cell, str], ...]
    """Cells that raised an error, and what it said."""


def run_cells(
    bench: Bench, cells: Sequence[Cell], results: Path, workers: int, say: Say = print
) -> Outcome:
    """Measure cells and add each to the results as it is done.

    Cells in the store already are found, not measured again; a killed run goes on at the last
    checkpoint of the training it was in.

    Args:
        bench: where and how.
        cells: in the order in which they are wanted.
        results: folder of the tidy table.
        workers: processes, one thread each.
        say: told what happens, a line at a time.

    Returns:
        What is done, and what failed; a cell that fails does not stop the others.
    """
    costs = Costs.of(read_results(results), bench.preset.name)
    say(told(costs, cells, workers))
    run = _Run(bench, results, costs, say, len(cells))
    with (
        _environment(WORKER),
        ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_become_worker
        ) as pool,
    ):
        try:
            run.measure(pool, cells, workers)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _stop(pool)
            raise
    return Outcome(tuple(run.finished), tuple(run.failed))


class _Run:
    """One run's cells, done and to do."""

    def __init__(self, bench: Bench, results: Path, costs: Costs, say: Say, total: int) -> None:
        self.bench, self.results, self.costs, self.say = bench, results, costs, say
        self.total = total
        self.finished: list[Cell] = []
        self.failed: list[tuple[Cell, str]] = []
        self.ready: set[Source] = set()
        """Data sets of which a cell is done: their rows are there."""

    def measure(self, pool: ProcessPoolExecutor, cells: Sequence[Cell], workers: int) -> None:
        """Keep every worker busy until no cell is left."""
        left, running = list(cells), dict[Future[tuple[Artefact, float]], Cell]()
        while left or running:
            while len(running) < workers and (cell := self._next(left, running.values())):
                left.remove(cell)
                running[pool.submit(_measure, self.bench, cell)] = cell
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                self._close(running.pop(future), future, [*left, *running.values()], workers)

    def _next(self, left: Sequence[Cell], running: Iterable[Cell]) -> Cell | None:
        """The next cell that need not wait for the rows of its data set to be built."""
        building = {cell.source for cell in running} - self.ready
        return next((cell for cell in left if cell.source not in building), None)

    def _close(
        self,
        cell: Cell,
        future: Future[tuple[Artefact, float]],
        left: Sequence[Cell],
        workers: int,
    ) -> None:
        self.ready.add(cell.source)
        error = future.exception()
        if error is not None:
            self.failed.append((cell, f"{type(error).__name__}: {error}"))
            self.say(f"  {cell.name}: failed: {type(error).__name__}: {error}")
            return
        artefact, took_s = future.result()
        rows, users = tables_of(artefact)
        write_results(self.results, rows, users)
        self.costs.add(rows)
        self.finished.append(cell)
        place = len(self.finished) + len(self.failed)
        self.say(
            f"  [{place}/{self.total}] {cell.name}: {took_s:.0f} s; "
            f"{self.costs.left(left, workers)}"
        )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that workers inherit: libraries read them as they are imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _become_worker() -> None:
    """Leave the terminal's interrupt to the runner."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure(bench: Bench, cell: Cell) -> tuple[Artefact, float]:
    began_s = time.monotonic()
    artefact = measured(bench, cell)
    return artefact, time.monotonic() - began_s


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once: their trainings go on from checkpoints next time."""
    for process in (getattr(pool, "_processes", None) or {}).values():
        process.terminate()
