"""The texts told of the same users: raw listings, profiles by code, and profiles by a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from loadtests.planted_shoppers import before_training
from model.profile_text import SECTIONS, UserFacts, render
from offline.engine import connect
from offline.events import CanonicalTables
from offline.profiles import ProfileSources, build_profiles
from offline.writers.answer import SECTIONS as SYNTHESISED
from offline.writers.chat import ChatWriter
from offline.writers.digest import tell_sentences
from offline.writers.selection import chat_plan, open_correspondence
from offline.writers.settings import WriterSettings
from offline.writers.template import TemplateWriter
from offline.writers.writer import ProfileWriter, Provenance, WrittenProfile

ATTRIBUTES = "section_attributes"
TEXTS = {
    "raw_log": "the log as it lies there: attributes, then a dated line per purchase (by category)"
    " and per query; one text, one vector",
    "raw_list": "the facts that every writer is given, a line each, without dates; one text, one"
    " vector",
    "raw_sections": "the lines of raw_list in the template's sections, through the encoder block",
    "attributes": "the template's section of attributes alone",
    "template": "the template profile: the default",
    "digest": "attributes, and the digest that the local language model is given, in place of each"
    " text that it makes of it",
    "local_llm": "attributes, and what the local language model (135 million parameters) makes of"
    " the digest",
    "template_alone": "the template without its section of attributes",
    "digest_alone": "the digest without the section of attributes; it tells them itself",
    "local_llm_alone": "what the model makes of the digest, without the section of attributes",
    "template_in_world": "the template's vectors as the pipeline made them: centred over all users"
    " of the world",
    "aligned": "no text of a user: facts read phrase by phrase, purchases with the side fields of"
    " their items too, and projected by what users of the world bought later in the year",
    "user_ids": "no text: the user-id table of a DIN trained on the world's training rows",
}
"""What stands behind each name in the figures."""


@dataclass(frozen=True)
class Told:
    """Texts of N users, in their order."""

    listings: Mapping[str, Sequence[str]]
    """One text per user."""
    profiles: Mapping[str, pa.Table]
    """Profiles in sections, a row per user."""


def tell(tables: CanonicalTables, user_ids: Sequence[str], cache: Path | None) -> Told:
    """Write every text of some users at the training cut.

    Args:
        tables: of a simulated world.
        user_ids: which users, rising.
        cache: of profile writers; None leaves the language model out.

    Returns:
        The texts.

    Raises:
        WriterFailed: when the language model is not installed or does not come up.
    """
    template = profile_table(tables, user_ids, TemplateWriter())
    listed = profile_table(tables, user_ids, LISTING)
    profiles = {
        "raw_sections": listed,
        "attributes": template.select(["user_id", ATTRIBUTES]),
        "template": template,
        "digest": profile_table(tables, user_ids, DIGEST),
    }
    if cache is not None:
        profiles["local_llm"] = local_profiles(tables, user_ids, cache)
    alone = [name for name in profiles if f"{name}_alone" in TEXTS]
    profiles |= {f"{name}_alone": profiles[name].drop_columns(ATTRIBUTES) for name in alone}
    sections = [listed[f"section_{name}"].to_pylist() for name in LISTING.sections]
    lists = ["\n".join(filter(None, parts)) for parts in zip(*sections, strict=True)]
    return Told({"raw_log": dated_logs(tables, user_ids), "raw_list": lists}, profiles)


def local_profiles(tables: CanonicalTables, user_ids: Sequence[str], cache: Path) -> pa.Table:
    """The local language model's profiles, however many of its answers are refused.

    A build ends when more than a few are (docs/profiles.md); here the template writes them all, and
    ``writer`` tells which.
    """
    settings = WriterSettings(writer="local")
    plan = replace(chat_plan(settings), dead_share=1.0)
    with open_correspondence(plan, settings, cache) as correspondence:
        return profile_table(tables, user_ids, ChatWriter(plan, correspondence))


def profile_table(
    tables: CanonicalTables, user_ids: Sequence[str], writer: ProfileWriter
) -> pa.Table:
    """The profiles of some users at the training cut, by the pipeline's own code.

    Args:
        tables: of a simulated world.
        user_ids: which users, rising.
        writer: writes the texts.

    Returns:
        As ``offline.profiles.build_profiles``, rows in the order of ``user_ids``.
    """
    schema = tables.schema
    with connect() as engine:

        def theirs(name: str) -> Any:
            rows = engine.read_parquet(tables.path(name))
            return rows.filter(rows.user_id.isin(list(user_ids)))

        sources = ProfileSources(
            users=theirs("users"),
            items=engine.read_parquet(tables.path("items")),
            purchases=theirs("purchases"),
            searches=theirs("searches"),
            discrete=schema.discrete,
            continuous=schema.continuous,
            categories=schema.categories,
            windows_days=schema.profile_windows_days,
            history_start=schema.split.history_start,
        )
        return build_profiles(engine, sources, schema.split.train_start, writer)


class TextWriter:
    """A profile writer that is one function of the facts, for texts that only serve to compare."""

    def __init__(
        self, name: str, sections: tuple[str, ...], tell: Callable[[UserFacts], tuple[str, ...]]
    ) -> None:
        self.provenance = Provenance(name)
        self.sections = sections
        self._tell = tell

    def write(
        self, users: Sequence[UserFacts], advance: Callable[[int], object]
    ) -> list[WrittenProfile]:
        """Tell each user; see ``ProfileWriter``."""
        advance(len(users))
        return [WrittenProfile(self._tell(facts), self.provenance.writer) for facts in users]


def list_facts(facts: UserFacts) -> tuple[str, ...]:
    """The facts that every writer is given as plain lines, nothing chosen and nothing summed up.

    Args:
        facts: what is known of the user.

    Returns:
        A listing per section of the template: known attributes, a line per purchase of each
        window, queries.
    """
    known = [f"{name}: {value}" for name, value in facts.attributes.items() if value is not None]
    windows = [
        [f"bought: {fact.parent} > {fact.leaf}" for fact in window for _ in range(fact.count)]
        for window in (facts.recent, facts.medium, facts.long)
    ]
    asked = [f"searched: {query}" for query in facts.queries]
    return tuple("\n".join(lines) for lines in (known, *windows, asked))


def digest_everywhere(facts: UserFacts) -> tuple[str, ...]:
    """The template's attributes, and the local model's input in place of each of its answers."""
    return (render(facts).attributes, *[tell_sentences(facts, None)] * len(SYNTHESISED))


LISTING = TextWriter("listing", SECTIONS, list_facts)
DIGEST = TextWriter("digest", ("attributes", *SYNTHESISED), digest_everywhere)


def dated_logs(tables: CanonicalTables, user_ids: Sequence[str]) -> list[str]:
    """The log of each user before training starts.

    Args:
        tables: of a simulated world.
        user_ids: which users.

    Returns:
        A text per user: known attributes, then purchases (by category) and queries, a dated line
        each, oldest first.
    """
    lines: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
    for row in tables.users().to_pylist():
        if (own := lines.get(row.pop("user_id"))) is not None:
            own.extend(f"{name}: {value}" for name, value in row.items() if value is not None)
    items = tables.items().select(["item_id", *tables.schema.categories]).to_pylist()
    named = {item.pop("item_id"): " > ".join(item.values()) for item in items}
    dated = [
        *((row, f"bought {named[row['item_id']]}") for row in _rows(tables, "purchases", lines)),
        *((row, f"searched {row['query']}") for row in _rows(tables, "searches", lines)),
    ]
    for row, what in sorted(dated, key=lambda pair: pair[0]["time"]):
        lines[row["user_id"]].append(f"{row['time']:%Y-%m-%d} {what}")
    return ["\n".join(own) for own in lines.values()]


def _rows(tables: CanonicalTables, name: str, users: Mapping[str, object]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = before_training(tables, name).to_pylist()
    return [row for row in rows if row["user_id"] in users]
