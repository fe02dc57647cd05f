"""A histogram that is cheap to count in: Prometheus' own takes a lock for every value."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Histogram(Collector):
    """A histogram for one writing thread: no locks, and whole columns at a time."""

    def __init__(
        self, name: str, text: str, labels: Mapping[str, Sequence[str]], edges: Sequence[float]
    ) -> None:
        """Begin with nothing counted.

        Args:
            name: of the metric.
            text: its help.
            labels: at most one, with its values.
            edges: upper ones of the buckets, ascending.
        """
        self._name, self._text, self._labels = name, text, list(labels)
        (values,) = list(labels.values()) or [("",)]
        self._counts = {value: np.zeros(len(edges) + 1, np.int64) for value in values}
        self._sums = dict.fromkeys(values, 0.0)
        self._edges = tuple(edges)
        self._edge_array = np.array(edges)

    def observe(self, value: float, label: str = "") -> None:
        """Count one value."""
        self._counts[label][bisect_left(self._edges, value)] += 1
        self._sums[label] += value

    def observe_all(self, values: NDArray[np.float32], label: str = "") -> None:
        """Count a column of values."""
        counts = self._counts[label]
        counts += np.bincount(self._edge_array.searchsorted(values), minlength=len(counts))
        self._sums[label] += float(values.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The state of now, for a scrape."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for value, counts in self._counts.items():
            labels = [value] if self._labels else []
            family.add_metric(labels, list(self._buckets(counts.tolist())), self._sums[value])
        yield family

    def _buckets(self, counts: Sequence[int]) -> Iterator[tuple[str, float]]:
        total = 0
        for edge, count in zip((*self._edges, np.inf), counts, strict=True):
            total += count
            yield ("+Inf" if edge == np.inf else repr(float(edge))), float(total)
