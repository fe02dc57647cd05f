"""The metrics of the replica itself: its workers, and how far they follow the desired state."""

from collections.abc import Mapping
from dataclasses import dataclass

ENDS = ("exit", "signal", "hung")
"""How a process may end that nobody asked to."""
ROLLBACKS = ("errors", "latency", "drift", "alpha")
"""Why a guard may roll a canary back."""


@dataclass(frozen=True)
class _Spec:
    """Name, kind and help text of one metric, and its label's values when it has one."""

    name: str
    kind: str
    text: str
    label: str = ""
    values: tuple[str, ...] = ()


_SPECS = (
    _Spec("choirrec_workers", "gauge", "Workers that the replica should have."),
    _Spec("choirrec_workers_alive", "gauge", "Workers that run."),
    _Spec(
        "choirrec_workers_ready",
        "gauge",
        "Workers that welcome requests, those that keep ending left out.",
    ),
    _Spec("choirrec_workers_looping", "gauge", "Workers that keep ending soon after their start."),
    _Spec(
        "choirrec_worker_ends_total",
        "counter",
        "Ends of workers and siblings that nobody asked for; each is spawned again.",
        "reason",
        ENDS,
    ),
    _Spec(
        "choirrec_desired_revision",
        "gauge",
        "The revision of the desired state that the workers were told; 0: none yet.",
    ),
    _Spec(
        "choirrec_settled_revision",
        "gauge",
        "The last revision that every worker has settled; below the desired one while they load.",
    ),
    _Spec(
        "choirrec_canary_rollbacks_total",
        "counter",
        "Faults for which this replica's guard rolled a canary back; one may have several.",
        "reason",
        ROLLBACKS,
    ),
    _Spec(
        "choirrec_state_trouble",
        "gauge",
        "1 while the desired state cannot be read, or a first one cannot be written; else 0.",
    ),
)

REPLICA_GAUGES = tuple(
    spec.name.removeprefix("choirrec_") for spec in _SPECS if spec.kind == "gauge"
)
"""What ``ReplicaMetrics.exposition`` asks for."""


class ReplicaMetrics:
    """What the supervisor counts and says of itself."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.ends = dict.fromkeys(ENDS, 0)
        self.rollbacks = dict.fromkeys(ROLLBACKS, 0)

    def exposition(self, gauges: Mapping[str, float]) -> str:
        """All metrics in Prometheus' text format.

        Args:
            gauges: their values now, by the names of ``REPLICA_GAUGES``.
        """
        counters = {
            "choirrec_worker_ends_total": self.ends,
            "choirrec_canary_rollbacks_total": self.rollbacks,
        }
        lines = []
        for spec in _SPECS:
            lines += [f"# HELP {spec.name} {spec.text}", f"# TYPE {spec.name} {spec.kind}"]
            if spec.label:
                counts = counters[spec.name].items()
                lines += [f'{spec.name}{{{spec.label}="{v}"}} {n}' for v, n in counts]
            else:
                lines.append(f"{spec.name} {gauges[spec.name.removeprefix('choirrec_')]}")
        return "".join(f"{line}\n" for line in lines)


def replica_metrics_table() -> str:
    """The table of these metrics as Markdown, for the documentation."""
    rows = [f"| `{s.name}` | {s.kind} | {_label(s)} | {s.text} |" for s in _SPECS]
    head = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _label(spec: _Spec) -> str:
    return f"`{spec.label}`: {', '.join(spec.values)}" if spec.label else ""
