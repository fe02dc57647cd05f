"""The fact log: the phrases of every user's facts, as of any moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from model.phrases import PhraseLists
from model.profile_text import attribute_phrases, spell
from model.spec import SECONDS_PER_DAY
from offline.events import CanonicalTables
from offline.histories import Column, Ints, epoch_s, positions, seconds

SECTIONS = ("attributes", "purchases", "queries")
"""One section for all purchases: three windows told apart are three sparse sections, of which a
low-activity user fills one; recency is a weight instead."""
RECENCY = (2.0, 1.3, 1.0)
"""Weight of a purchase in the recent, medium and long window."""

MISSING = -1


@dataclass(frozen=True, eq=False)
class Occurrences:
    """Events of users, in any order."""

    user: Ints
    """``[E]``: position in the users table."""
    time_s: Ints
    """``[E]``: seconds since the epoch."""
    row: Ints
    """``[E]``: an item's position in the items table, or a query's phrase."""

    def between(self, start_s: int, end_s: int) -> "Occurrences":
        """The events at or after a moment and strictly before another."""
        inside = np.flatnonzero((self.time_s >= start_s) & (self.time_s < end_s))
        return Occurrences(self.user[inside], self.time_s[inside], self.row[inside])


@dataclass(frozen=True, eq=False)
class FactLog:
    """What is known of N users over time, in phrases."""

    phrases: tuple[str, ...]
    """The T distinct phrases, sorted."""
    attributes: PhraseLists
    item_phrases: Ints
    """``[I, F]``: phrases of each item: finest two category levels, then side fields."""
    purchases: Occurrences
    searches: Occurrences
    windows_s: tuple[int, ...]
    """Where the recent, medium and long window end, before a moment."""
    start_s: int
    """Events before this moment are not used."""

    @classmethod
    def open(cls, tables: CanonicalTables) -> "FactLog":
        """Read the canonical tables.

        Args:
            tables: users, items, purchases and searches are read.
        """
        schema = tables.schema
        users, items, searches = tables.users(), tables.items(), tables.searches()
        told = _told(users, (*schema.discrete, *schema.continuous))
        asked = [spell(str(query)) for query in searches["query"].to_pylist()]
        columns = [_named(items, name, "") for name in schema.categories[-2:]]
        columns += [_named(items, name, f"{name} ") for name in schema.side]
        texts = chain(*told, asked, *columns)
        number = {text: place for place, text in enumerate(sorted(set(texts) - {""}))}
        ids = users["user_id"]
        purchases = tables.purchases()
        return cls(
            phrases=tuple(number),
            attributes=_attribute_lists(told, number),
            item_phrases=np.array([_numbers(column, number) for column in columns]).T,
            purchases=_occurrences(
                purchases, ids, positions(purchases["item_id"], items["item_id"])
            ),
            searches=_occurrences(searches, ids, _numbers(asked, number)),
            windows_s=tuple(days * SECONDS_PER_DAY for days in schema.profile_windows_days),
            start_s=epoch_s(schema.split.history_start),
        )

    def __len__(self) -> int:
        """Users N."""
        return len(self.attributes.facts)

    def sections(self, moment_s: int) -> tuple[PhraseLists, ...]:
        """The sections of all users as of a moment: nothing in them is as late as the moment.

        Args:
            moment_s: seconds since the epoch.

        Returns:
            One per name of ``SECTIONS``.
        """
        return self.attributes, self._bought(moment_s), self._asked(moment_s)

    def _bought(self, moment_s: int) -> PhraseLists:
        """Purchases by category and side field, the latest counting most."""
        oldest_s = max(self.start_s, moment_s - self.windows_s[-1])
        bought = self.purchases.between(oldest_s, moment_s)
        # A purchase just as old as a window's end is still inside.
        window = np.searchsorted(self.windows_s, moment_s - bought.time_s, side="left")
        weight = np.array(RECENCY)[window]
        facts = np.bincount(bought.user, weight, len(self)).astype(np.float64)
        phrase = self.item_phrases[bought.row]
        named = phrase != MISSING
        user, weights = (
            np.broadcast_to(column[:, None], phrase.shape)[named]
            for column in (bought.user, weight)
        )
        return PhraseLists.build(user, phrase[named], weights, facts)

    def _asked(self, moment_s: int) -> PhraseLists:
        oldest_s = max(self.start_s, moment_s - self.windows_s[-1])
        asked = self.searches.between(oldest_s, moment_s)
        once = np.ones(len(asked.user))
        facts = np.bincount(asked.user, minlength=len(self)).astype(np.float64)
        return PhraseLists.build(asked.user, asked.row, once, facts)


def _told(users: pa.Table, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The attribute phrases of every user."""
    return [attribute_phrases(row) for row in users.select(list(names)).to_pylist()]


def _named(items: pa.Table, column: str, prefix: str) -> list[str]:
    """The phrase of every item by one column; "" where it is missing."""
    coded = items[column].combine_chunks().dictionary_encode()
    spelt = [spell(f"{prefix}{name}") for name in coded.dictionary.to_pylist()]
    return [spelt[code] if code is not None else "" for code in coded.indices.to_pylist()]


def _attribute_lists(told: Sequence[tuple[str, ...]], number: Mapping[str, int]) -> PhraseLists:
    facts = np.array([len(phrases) for phrases in told], np.float64)
    user = np.repeat(np.arange(len(told)), facts.astype(np.int64))
    phrase = _numbers(list(chain(*told)), number)
    return PhraseLists.build(user, phrase, np.ones(len(user)), facts)


def _numbers(texts: Sequence[str], number: Mapping[str, int]) -> Ints:
    """int64: the phrase of each text; -1 of the empty one."""
    return np.array([number.get(text, MISSING) for text in texts], np.int64)


def _occurrences(events: pa.Table, user_ids: Column, row: Ints) -> Occurrences:
    """The events whose row is known; a query without words is none."""
    known = np.flatnonzero(row != MISSING)
    user, time_s = positions(events["user_id"], user_ids), seconds(events["time"])
    return Occurrences(user[known], time_s[known], row[known])
