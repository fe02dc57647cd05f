"""The template writer: facts as phrases, by code alone."""

from collections.abc import Callable, Sequence

from model.profile_text import SECTIONS, UserFacts, render
from offline.writers.writer import TEMPLATE, Provenance, WrittenProfile


class TemplateWriter:
    """Writes what ``model.profile_text`` renders; not a language model."""

    provenance = Provenance(TEMPLATE)
    sections = SECTIONS

    def write(
        self, users: Sequence[UserFacts], advance: Callable[[int], object]
    ) -> list[WrittenProfile]:
        """Render each user's facts; see ``ProfileWriter``."""
        written = []
        for facts in users:
            sections = render(facts).sections
            written.append(WrittenProfile(sections, TEMPLATE if any(sections) else None))
            advance(1)
        return written
