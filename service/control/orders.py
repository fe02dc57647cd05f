"""Orders: what an operator asks for, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from model.desired import Canary, Desired, Shadow
from service.control.convergence import Verdict
from service.control.finding import Finding
from service.control.orphan import WITHIN_S

WHO_LENGTH = 128
WHY_LENGTH = 1000
"""Characters at most."""

Result = Literal["done", "already", "planned"]


@dataclass(frozen=True)
class Order:
    """Who asks, why, and how it is to be carried out."""

    who: str
    why: str
    force: bool = False
    """Whether guards are overruled."""
    dry_run: bool = False
    """Whether to say only what would change."""
    within_s: float = WITHIN_S
    """Time for every worker to become ready."""
    revision: int | None = None
    """The one whose plan was agreed to, and no other may hold by now; None: none was shown."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """For the audit log, from whoever asks without being a person."""


@dataclass(frozen=True)
class Outcome:
    """What came of an order."""

    action: str
    result: Result
    """``already``: nothing was left to do; ``planned``: a dry run."""
    revision: int
    """Of the document that holds now."""
    before: Mapping[str, str | None]
    """By role: what it was, as ``version/generation``."""
    after: Mapping[str, str | None]
    """What it is, or would be."""
    guard: Finding
    generation: str | None = None
    """What the order's version is to be served with; None: the order names no version."""
    verdicts: tuple[Verdict, ...] = ()
    """What each worker says of the target."""
    seconds: float = 0.0


def roles(desired: Desired) -> dict[str, str | None]:
    """What each role serves, in words."""
    return {
        "champion": str(desired.champion),
        "previous": None if desired.previous is None else str(desired.previous),
        "candidate": None if desired.candidate is None else str(desired.candidate),
        "canary": None if desired.canary is None else _canary(desired.canary),
        "shadow": None if desired.shadow is None else _shadow(desired.shadow),
    }


def _canary(canary: Canary) -> str:
    if canary.share == 0:
        return f"{canary.target} for testers"
    return f"{canary.target} for {100 * canary.share:g} %" + " and testers" * canary.testers


def _shadow(shadow: Shadow) -> str:
    return f"{shadow.target} on {100 * shadow.sample:g} %"


def check_said(text: str, most: int) -> str:
    """A text for the audit log, whose entries are lines that nobody may forge.

    Args:
        text: who asks, or why.
        most: characters at most.

    Raises:
        ValueError: when it is empty, too long, or more than one printable line.
    """
    if not text.strip() or not text.isprintable() or len(text) > most:
        raise ValueError(
            f"{text[:40]!r} ({len(text)} characters), expected one line of printable text, "
            f"at most {most} characters"
        )
    return text
