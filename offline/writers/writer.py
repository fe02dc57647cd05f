"""The profile writer: from the facts of users to the section texts of their profiles."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from model.profile_text import UserFacts

TEMPLATE = "template"


class WriterFailed(RuntimeError):
    """Profiles cannot be written as they stand: why, and how to mend it."""


@dataclass(frozen=True)
class Provenance:
    """Everything that decides what a writer makes of the same facts."""

    writer: str
    """"template" is code; every other writer is a language model."""
    model: str = ""
    """The language model's name."""
    revision: str = ""
    """Which weights bear that name."""
    prompt: str = ""
    """Version of the prompt and a hash of its text."""
    schema: str = ""
    """Hash of the answer's JSON schema."""
    sampling: str = ""
    """Sampling parameters as JSON."""
    telling: str = ""
    """Version of how facts are told to the language model."""

    @property
    def identity(self) -> str:
        """One line that differs whenever any part does."""
        return "/".join(filter(None, asdict(self).values()))


@dataclass(frozen=True)
class WrittenProfile:
    """One user's profile."""

    sections: tuple[str, ...]
    """A text per section of the writer, in its order; empty = nothing known."""
    writer: str | None
    """Who wrote it: the writer, or "template" where a language model failed; None = there was
    nothing to write from."""


class ProfileWriter(Protocol):
    """Writes profiles; equal facts give equal profiles, whoever else is written."""

    @property
    def provenance(self) -> Provenance:
        """What the profiles depend on besides facts."""

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of the sections, in order; "attributes" is always the template's."""

    def write(
        self, users: Sequence[UserFacts], advance: Callable[[int], object]
    ) -> list[WrittenProfile]:
        """Write the profiles of some users.

        Args:
            users: facts, one entry per user.
            advance: told how many users more are done, as they are done.

        Returns:
            A profile per user, in the order given.

        Raises:
            WriterFailed: when going on makes no sense; what was paid for is kept.
        """
