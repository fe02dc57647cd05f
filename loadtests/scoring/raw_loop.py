"""The raw loop: a bundle's graphs run on ready inputs, in a process that does nothing else."""

import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from loadtests.scoring.shop import Shop
from model.assembly import group_arrays
from model.bundle import Bundle, open_bundle
from model.tables import Floats, Inputs
from service.inference.backend import Session
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.scorer import Moment, Scorer

INPUTS = 64
"""Requests whose inputs take turns."""
CHUNK = 125


@dataclass(frozen=True, eq=False)
class Ready:
    """The inputs of one request, embedded."""

    user: Inputs
    activity: Floats
    prior: Inputs
    chunks: Sequence[Floats]


class RawLoop:
    """A process that runs the graphs when it is told to."""

    def __init__(self, pipe: Connection) -> None:
        """Talk to it.

        Args:
            pipe: to the process.
        """
        self._pipe = pipe

    def cpu_us(self, candidates: int, runs: int) -> float:
        """CPU microseconds of the graphs of one request.

        Args:
            candidates: of a request.
            runs: requests.
        """
        self._pipe.send((candidates, runs))
        return float(self._pipe.recv())


@contextmanager
def raw_loop(shop: Shop, sizes: Sequence[int]) -> Iterator[RawLoop]:
    """The process, ended with the block.

    Args:
        shop: whose model it runs.
        sizes: numbers of candidates.
    """
    folder = shop.repository / str(shop.version)
    bundle = open_bundle(folder)
    prepared = {size: _inputs(shop, bundle, size) for size in sizes}
    own, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run_when_told, args=(folder, prepared, other), daemon=True
    )
    process.start()
    try:
        yield RawLoop(own)
    finally:
        process.kill()
        process.join()


def _inputs(shop: Shop, bundle: Bundle, candidates: int) -> list[Ready]:
    """Everything that graphs read of some requests, by the service's own assembly."""
    scorer = Scorer(bundle, OnnxRuntimeBackend(1).load(bundle.graphs), CHUNK)
    moment = Moment(shop.time_s, 12, 0)
    ready = []
    for number, user in enumerate(shop.users(INPUTS)):
        group = shop.records.side.groups[user.prefix]
        arrays = group_arrays(bundle.spec, bundle.catalogue, [group], shop.time_s)
        resolved = scorer.resolve(shop.candidates(candidates, number))
        parts = np.array_split(scorer.candidates(resolved, {}).tokens, -(-candidates // CHUNK))
        user_inputs, activity = scorer.user_side(user, moment)
        chunks = [part[np.newaxis] for part in parts]
        ready.append(Ready(user_inputs, activity, bundle.tables.group_inputs(arrays), chunks))
    return ready


def _run_when_told(folder: Path, prepared: Mapping[int, Sequence[Ready]], pipe: Connection) -> None:
    session = OnnxRuntimeBackend(1).load(open_bundle(folder).graphs)
    while True:
        candidates, runs = pipe.recv()
        ready = prepared[candidates]
        began_s = time.process_time()
        for number in range(runs):
            _run(session, ready[number % len(ready)])
        pipe.send((time.process_time() - began_s) / runs * 1e6)


def _run(session: Session, ready: Ready) -> None:
    """The graphs of one request, in the service's order."""
    session.reliability(ready.activity)
    for chunk in ready.chunks:
        _, injection = session.group_channel({**ready.prior, "candidates": chunk})
        session.individual_channel(
            {**ready.user, "candidates": chunk, "group_injection": injection}
        )
