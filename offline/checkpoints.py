"""Checkpoints of a training run: plain arrays, replaced as a whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from model.whole_file import whole_file

Arrays = Mapping[str, NDArray[np.float32]]

PARAMETER = "parameter/"
ACCUMULATOR = "accumulator/"


@dataclass(frozen=True, eq=False)
class Saved:
    """One checkpoint."""

    state: str
    """Where the run stood, JSON."""
    parameters: Arrays
    """The model's parameters by name."""
    accumulators: Arrays
    """Adagrad's sums of squared gradients by parameter name."""


class Checkpoints:
    """The checkpoints of one run in one folder."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; it is made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._last = folder / "last.npz"
        self._best = folder / "best.npz"

    def save(self, identity: str, state: str, parameters: Arrays, accumulators: Arrays) -> None:
        """Replace the last checkpoint.

        Args:
            identity: what names the run; a run of another identity will not load this.
            state: where the run stands, JSON.
            parameters: the model's parameters.
            accumulators: Adagrad's accumulators.
        """
        arrays = {PARAMETER + name: value for name, value in parameters.items()}
        arrays |= {ACCUMULATOR + name: value for name, value in accumulators.items()}
        head = np.frombuffer(json.dumps([identity, state]).encode(), np.uint8)
        _write(self._last, {"head": head, **arrays})

    def save_best(self, parameters: Arrays) -> None:
        """Replace the parameters of the best epoch."""
        _write(self._best, parameters)

    def load_best(self) -> Arrays:
        """The parameters of the best epoch."""
        return _read(self._best)

    def load(self, identity: str) -> Saved | None:
        """Read the last checkpoint.

        Args:
            identity: the run that asks.

        Returns:
            The checkpoint, or None when there is none.

        Raises:
            ValueError: when the folder's checkpoint is another run's, or damaged.
        """
        if not self._last.exists():
            return None
        arrays = dict(_read(self._last))
        theirs, state = json.loads(arrays.pop("head").tobytes())
        if theirs != identity:
            raise ValueError(
                f"{self._last} belongs to a run with other settings, rows or model; expected the "
                "same run: remove the folder to train from the start"
            )
        return Saved(state, _part(arrays, PARAMETER), _part(arrays, ACCUMULATOR))


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _write(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (BadZipFile, OSError, ValueError) as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({error}): remove the folder to train anew"
        ) from error
