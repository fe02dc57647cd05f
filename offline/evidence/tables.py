"""Tables: the paper's tables and figures of one study, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from offline.evidence.statistics import Interval

SEGMENTS = ("low", "overall")
ITEM_SLICES = ("rare_items", "frequent_items")
"""Test rows by how often their item was bought before training (under 100 times: rare)."""
FIGURES = ("auc", "gauc", "gauc_unweighted", "logloss", "pcoc")
"""Of the test rows' outcomes; told beside the primary figure."""


@dataclass(frozen=True)
class Figure:
    """A method's figure over its cells."""

    mean: float
    """Mean over data sets of the mean over seeds."""
    spread: float
    """Standard deviation between seeds, pooled over data sets; NaN with one seed."""
    by_dataset: Mapping[str, tuple[float, float]]
    """The same two by data set."""


@dataclass(frozen=True)
class Gain:
    """One method against another, paired by data set, seed and, for GAUC, user."""

    absolute: Interval
    relative: Interval
    """Ratio minus 1."""
    corrected: Interval | None = None
    """The relative gain under Holm's correction; None outside of a family."""
    paper: float | None = None
    """The paper's relative gain, of other data."""

    @property
    def judged(self) -> Interval:
        """The interval by which the gain is judged."""
        return self.corrected or self.relative


@dataclass(frozen=True)
class MethodRow:
    """A method's figures, and how ChoirRec stands to it."""

    method: str
    title: str
    finished: int
    """Cells that ChoirRec has finished, too."""
    wanted: int
    """Cells that ChoirRec has finished."""
    dense_parameters: int
    table_parameters: int
    figures: Mapping[str, Figure]
    """By metric and segment: ``primary_low``, ``auc_overall`` and so on."""
    gains: Mapping[str, Gain]
    """By metric and segment: the subject over this method; for ablations and sweeps this method
    over the subject."""


@dataclass(frozen=True)
class LevelGains:
    """Relative gains by activity level (Figure 5)."""

    over_base: tuple[Interval, ...]
    """ChoirRec over the base model, levels 1 to 5."""
    permuted_over_base: tuple[Interval, ...]
    """The control over the base model."""
    net: tuple[Interval, ...]
    """ChoirRec over the control: what groups add."""
    slopes: tuple[Interval, Interval, Interval]
    """Of the three, per level."""


@dataclass(frozen=True)
class Trust:
    """alpha_fusion of one method by activity level."""

    method: str
    title: str
    levels: tuple[float, ...]
    """Means of levels 1 to 5."""
    ratio: Interval
    """Level 1 over level 5; by worlds and seeds."""


@dataclass(frozen=True)
class GroupFigures:
    """How alike the members of the groups are that a method read."""

    method: str
    title: str
    consistency: float
    top50_share: float


@dataclass(frozen=True)
class SweepPoint:
    """A value of a hyperparameter, against the subject's own."""

    value: float
    row: MethodRow


@dataclass(frozen=True)
class StudyTables:
    """All tables of one study."""

    name: str
    family: str
    role: str
    preset: str
    datasets: tuple[str, ...]
    subject: str
    """Title of the method that the claim is about."""
    control: str
    """Name of the same method with permuted groups."""
    measures: Mapping[str, tuple[str, bool]]
    """By segment: target and whether labels are soft, of the primary figure."""
    methods: tuple[MethodRow, ...]
    ablations: tuple[MethodRow, ...]
    levels: LevelGains | None
    codes_sweep: tuple[SweepPoint, ...]
    weight_sweep: tuple[SweepPoint, ...]
    trust: tuple[Trust, ...]
    groups: tuple[GroupFigures, ...]
