"""The prompt: versioned instructions, and the place in them for the facts of one user."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

_FOLDER = Path(__file__).parent / "prompts"
_FACTS = "{facts}"


@dataclass(frozen=True)
class Prompt:
    """Instructions of one version."""

    name: str
    """The file's name, which ends in its version."""
    system: str
    """What is asked, the same for every user."""
    user: str
    """What surrounds the facts; ``{facts}`` marks their place."""

    @classmethod
    def load(cls, name: str) -> "Prompt":
        """Read a version.

        Args:
            name: of a file in ``prompts/`` without its ending.

        Returns:
            The prompt.

        Raises:
            FileNotFoundError: when there is no such version.
            ValueError: when the file has not one line of dashes and one place for facts.
        """
        text = (_FOLDER / f"{name}.txt").read_text()
        system, _, user = (part.strip() for part in text.partition("\n---\n"))
        if not system or user.count(_FACTS) != 1:
            raise ValueError(
                f"prompt {name}: expected instructions, a line '---', and a text with one {_FACTS}"
            )
        return cls(name, system, user)

    @cached_property
    def version(self) -> str:
        """Name and a hash of the text, so that no edit goes unnoticed."""
        content = f"{self.system}\0{self.user}"
        return f"{self.name}:{sha256(content.encode()).hexdigest()[:16]}"

    def messages(self, digest: str) -> list[dict[str, str]]:
        """The messages about one user.

        Args:
            digest: of the user's facts.

        Returns:
            A system message and a user message.
        """
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.user.replace(_FACTS, digest)},
        ]
