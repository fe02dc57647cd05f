"""The reference sketch: how score and alpha_fusion lay by activity level when a model was born."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCE_FILE = "reference.json"
LEVELS = 5
"""Activity levels, from 1 (lowest)."""
MAX_BINS = 64


class MalformedReference(ValueError):
    """A sketch that cannot be read: what is wrong with it, and where."""


@dataclass(frozen=True)
class Histogram:
    """Values of one activity level, in bins chosen to hold about as many each."""

    edges: tuple[float, ...]
    """Inner edges, increasing; bin n holds values from edge n - 1 up to, not including, edge n.
    None of them: too few values to tell anything of their shape."""
    counts: tuple[int, ...]
    """Per bin, one more than edges."""
    mean: float | None
    """Of all values; None without any."""

    @property
    def total(self) -> int:
        """Values in all bins."""
        return sum(self.counts)

    def bins(self, values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Which bin each value belongs to.

        Args:
            values: ``[N]``.

        Returns:
            int64 ``[N]``, 0 to the number of edges.
        """
        return np.searchsorted(np.asarray(self.edges), values.astype(np.float64), side="right")


@dataclass(frozen=True)
class ReferenceSketch:
    """Both quantities by activity level, on rows that the model did not learn from."""

    score: Mapping[int, Histogram]
    """By level 1 to 5; a value per candidate."""
    alpha_fusion: Mapping[int, Histogram]
    """By level 1 to 5; a value per request."""

    def to_json(self) -> str:
        """JSON for people and programs, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ReferenceSketch":
        """Read what ``to_json`` wrote.

        Args:
            text: the content of ``reference.json``.

        Raises:
            MalformedReference: naming the member, its value and what was expected.
        """
        try:
            told = json.loads(text)
            sides = {name: _levels(name, told.pop(name)) for name in ("score", "alpha_fusion")}
            if told:
                raise MalformedReference(f"members {sorted(told)} mean nothing")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise MalformedReference(
                f"no reference sketch ({type(error).__name__}: {error}); export the bundle again"
            ) from error
        return cls(**sides)


def _levels(name: str, told: Mapping[str, Any]) -> Mapping[int, Histogram]:
    expected = [str(level) for level in range(1, LEVELS + 1)]
    if sorted(told) != expected:
        raise MalformedReference(f"{name}: levels {sorted(told)}, expected {expected}")
    return {int(level): _histogram(f"{name}.{level}", **told[level]) for level in expected}


def _histogram(place: str, edges: list[Any], counts: list[Any], mean: Any) -> Histogram:
    for value in edges if mean is None else (*edges, mean):
        if type(value) not in (int, float) or not math.isfinite(value):
            raise MalformedReference(f"{place}: {value!r:.40}, expected a finite number")
    if any(one >= other for one, other in pairwise(edges)):
        raise MalformedReference(f"{place}: edges {edges!r:.80} do not increase")
    if any(type(count) is not int or count < 0 for count in counts):
        raise MalformedReference(f"{place}: counts {counts!r:.80}, expected whole numbers from 0")
    if len(counts) != len(edges) + 1 or len(counts) > MAX_BINS:
        raise MalformedReference(
            f"{place}: {len(counts)} counts for {len(edges)} edges, expected one more, "
            f"at most {MAX_BINS}"
        )
    return Histogram(tuple(map(float, edges)), tuple(counts), mean)
