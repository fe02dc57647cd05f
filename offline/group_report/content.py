"""Content: everything that the group report shows."""

from dataclasses import dataclass

from offline.assignment import LevelDiagnostics
from offline.drift import Drift
from offline.group_map import Comparison
from offline.group_report.cards import Card
from offline.group_report.description import Description
from offline.group_report.measures import Occupancy


@dataclass(frozen=True)
class Alike:
    """How alike the members of the groups of one kind are, beside the control."""

    label: str
    attributes: tuple[tuple[str, float | None, float | None], ...]
    """Attribute, its consistency, and the consistency of permuted groups."""
    consistency: float | None
    """Mean over the attributes."""
    consistency_permuted: float | None
    concentration: float | None
    """Share of purchases in the group's 50 most bought categories."""
    concentration_permuted: float | None


@dataclass(frozen=True)
class Stability:
    """One other grouping of the same users, compared with the reported one."""

    label: str
    comparison: Comparison


@dataclass(frozen=True)
class DriftOf:
    """How the users of one cut lie to the codebooks."""

    label: str
    drift: Drift
    confidence: tuple[float, ...]
    """Share of users whose confidence lies in each tenth from 0 to 1; all alike as fitted."""


@dataclass(frozen=True)
class Content:
    """One report."""

    dataset: str
    provenance: str
    preset: str
    cut: str
    grouping: str
    """"aligned" to later purchases, or by "profiles"."""
    profiles: str
    """Who wrote the profiles, such as "template (template-1)"."""
    users: int
    grouped: int
    n_min: int
    codes_per_level: int
    levels: tuple[LevelDiagnostics, ...]
    permuted_energy: tuple[float, ...]
    """Per level: the residual energy that permuted codes leave."""
    occupancies: tuple[Occupancy, ...]
    """By depth."""
    alike: tuple[Alike, ...]
    """By depth, and last for the prefixes whose priors are read."""
    stabilities: tuple[Stability, ...]
    drifts: tuple[DriftOf, ...]
    cards: tuple[Card, ...]
    descriptions: tuple[Description, ...]
    """One per card."""
    describer: str
    """Who wrote the descriptions, such as "template"."""
    groups: int
    """Groups of all depths that have users."""
