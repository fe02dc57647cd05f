"""Group priors in the process: decoded, embedded, and kept for one bundle and generation."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from model.assembly import group_arrays
from model.bundle import Bundle
from model.generation import Generation
from model.records import GroupRecord
from model.tables import Inputs

GLOBAL = ()
"""The prefix of the global prior."""


@dataclass(frozen=True, eq=False)
class Prior:
    """A group prior as the graphs take it, R = 1."""

    record: GroupRecord
    as_of_s: int
    """Ages of its sequence count from here."""
    inputs: Inputs
    """The inputs of ``model.tables.GROUP_INPUTS``."""
    from_snapshot: bool

    @property
    def prefix(self) -> tuple[int, ...]:
        """Of the group."""
        return self.record.prefix

    @property
    def size(self) -> int:
        """Members."""
        return self.record.size


class Priors:
    """The priors of one generation, at most so many; the least recently used goes first.

    What is kept is a pure function of bundle, generation and prefix, so it never grows stale.
    The global prior is never dropped.
    """

    def __init__(self, bundle: Bundle, generation: Generation | None, entries: int) -> None:
        """Keep nothing yet.

        Args:
            bundle: the bundle that reads the records.
            generation: whose records these are; None: only the bundle's snapshot is at hand.
            entries: priors kept at most, the global one apart.
        """
        self._bundle = bundle
        self._generation = generation
        self._entries = entries
        self._kept: OrderedDict[tuple[int, ...], Prior] = OrderedDict()
        self._absent: set[tuple[int, ...]] = set()
        self._global: Prior | None = None
        self._snapshot: dict[tuple[int, ...], Prior] = {}

    @property
    def prefixes(self) -> Sequence[tuple[int, ...]]:
        """Of the priors that are kept, the global one apart; the most recently used last."""
        return tuple(self._kept)

    def get(self, prefix: tuple[int, ...]) -> Prior | None:
        """The generation's prior of a prefix, if it was read before."""
        if prefix == GLOBAL:
            return self._global
        prior = self._kept.get(prefix)
        if prior is not None:
            self._kept.move_to_end(prefix)
        return prior

    def add(self, record: GroupRecord) -> Prior:
        """Keep a record of the generation.

        Raises:
            ValueError: when there is no generation.
        """
        if self._generation is None:
            raise ValueError("without a generation only the snapshot's priors can be used")
        prior = self._prior(record, self._generation.as_of_s, from_snapshot=False)
        if record.prefix == GLOBAL:
            self._global = prior
            return prior
        self._kept[record.prefix] = prior
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)
        return prior

    def make_oldest(self, prefixes: Sequence[tuple[int, ...]]) -> None:
        """Let priors that are kept, in this order, be the first to go."""
        for prefix in reversed(prefixes):
            if prefix in self._kept:
                self._kept.move_to_end(prefix, last=False)

    def is_absent(self, prefix: tuple[int, ...]) -> bool:
        """Whether the generation was asked for a prefix before and has no record of it."""
        return prefix in self._absent

    def add_absence(self, prefix: tuple[int, ...]) -> None:
        """Keep that the generation has no record of a prefix; a complete one gets none later."""
        if len(self._absent) >= self._entries:
            self._absent.clear()
        self._absent.add(prefix)

    def snapshot(self, prefix: tuple[int, ...]) -> Prior:
        """The bundle's own prior: of level 1 when it has enough members, else the global one."""
        records = self._bundle.prior_snapshot.records
        level_1 = records.get(prefix[:1])
        enough = level_1 is not None and level_1.size >= self._bundle.spec.n_min
        known = prefix[:1] if enough else GLOBAL
        if known not in self._snapshot:
            as_of_s = self._bundle.prior_snapshot.as_of_s
            self._snapshot[known] = self._prior(records[known], as_of_s, from_snapshot=True)
        return self._snapshot[known]

    def _prior(self, record: GroupRecord, as_of_s: int, *, from_snapshot: bool) -> Prior:
        arrays = group_arrays(self._bundle.spec, self._bundle.catalogue, [record], as_of_s)
        inputs = self._bundle.tables.group_inputs(arrays)
        return Prior(record, as_of_s, inputs, from_snapshot)
