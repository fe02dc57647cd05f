"""Expositions of several processes as one, each series with the label of its process."""

from collections.abc import Iterable

_COMMENTS = ("# HELP ", "# TYPE ")


class MergedExposition:
    """Families in the order they were first seen, their help and type once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._heads: dict[str, list[str]] = {}
        self._series: dict[str, list[str]] = {}

    def add(self, text: str, worker: str | None = None) -> None:
        """Add one process's exposition in Prometheus' text format.

        Args:
            text: as the client library writes it: help and type before a family's series.
            worker: value of the label ``worker``; None: series stay as they are.
        """
        family = ""
        for line in text.split("\n"):
            if line.startswith(_COMMENTS):
                family = line.split(" ", 3)[2]
                head = self._heads.setdefault(family, [])
                if line not in head and len(head) < len(_COMMENTS):
                    head.append(line)
            elif line and not line.startswith("#"):
                series = line if worker is None else _labelled(line, worker)
                self._heads.setdefault(family, [])
                self._series.setdefault(family, []).append(series)

    def text(self) -> bytes:
        """Everything that was added."""
        return "".join(f"{line}\n" for line in self._lines()).encode()

    def _lines(self) -> Iterable[str]:
        for family, head in self._heads.items():
            yield from head
            yield from self._series.get(family, ())


def _labelled(line: str, worker: str) -> str:
    """A series with one more label, the first; a name holds neither a brace nor a space."""
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{worker}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{worker="{worker}"}} {value}'
