"""The signatures of the three graphs: names and shapes that a bundle's own tables ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from model.graph_file import Axes, GraphFile
from model.spec import FeatureSpec
from model.tables import Tables

GRAPHS = ("group_channel", "individual_channel", "reliability")
ACTIVITY = 5
"""Numbers of a user's activity that the reliability network reads."""

Free = Literal["R", "C"]
Wanted = tuple[int | Free | None, ...]
"""Sizes of axes; a letter: must be free; None: of any size."""


class WrongSignature(ValueError):
    """Graphs that do not fit their tables: which, and how."""


@dataclass(frozen=True)
class Signature:
    """What one graph takes and gives (docs/architecture.md)."""

    inputs: Mapping[str, Wanted]
    outputs: Mapping[str, Wanted]


def signatures(spec: FeatureSpec, tables: Tables) -> Mapping[str, Signature]:
    """What the three graphs must take and give.

    Args:
        spec: the bundle's feature spec.
        tables: its tables.

    Returns:
        By graph, in the order in which they run. A size may also be left free.
    """
    token = tables.token_width
    attributes = sum(table.shape[1] for table in tables.attributes) + 2 * len(spec.continuous)
    context = sum(table.shape[1] for table in tables.context)
    candidates: Wanted = ("R", "C", token)
    injection: Wanted = ("R", "C", None)
    return {
        "group_channel": Signature(
            {
                "group_codes": ("R", spec.levels, tables.group_codes[0].shape[1]),
                "group_attributes": ("R", attributes),
                "group_sequence": ("R", spec.group_len, token),
                "group_mask": ("R", spec.group_len),
                "candidates": candidates,
            },
            {"group_logit": ("R", "C"), "group_injection": injection},
        ),
        "individual_channel": Signature(
            {
                "user": ("R", tables.user.shape[1] + attributes + context),
                "history": ("R", spec.history_len, token),
                "history_mask": ("R", spec.history_len),
                "candidates": candidates,
                "group_injection": injection,
            },
            {"individual_logit": ("R", "C")},
        ),
        "reliability": Signature({"activity": ("R", ACTIVITY)}, {"alpha_fusion": ("R", 1)}),
    }


def check_signatures(graphs: Mapping[str, GraphFile], spec: FeatureSpec, tables: Tables) -> None:
    """Compare what graphs say of themselves with what their tables ask for.

    Args:
        graphs: by name.
        spec: the bundle's feature spec.
        tables: its tables.

    Raises:
        WrongSignature: naming the graph, the tensor, its shape and what was expected.
    """
    for name, wanted in signatures(spec, tables).items():
        _compare(f"{name}.onnx", "input", graphs[name].inputs, wanted.inputs)
        _compare(f"{name}.onnx", "output", graphs[name].outputs, wanted.outputs)
    given = graphs["group_channel"].outputs["group_injection"][2]
    taken = graphs["individual_channel"].inputs["group_injection"][2]
    if None not in (given, taken) and given != taken:
        raise WrongSignature(
            f"group_channel.onnx gives a group_injection {given} wide, individual_channel.onnx "
            f"takes {taken}: they are of different exports, export the bundle again"
        )


def _compare(file: str, side: str, found: Mapping[str, Axes], wanted: Mapping[str, Wanted]) -> None:
    if sorted(found) != sorted(wanted):
        raise WrongSignature(f"{file}: {side}s {sorted(found)}, expected {sorted(wanted)}")
    for name, axes in wanted.items():
        if not _fits(found[name], axes):
            raise WrongSignature(
                f"{file}: {side} {name} {_shown(found[name])}, expected {_shown(axes)}; export the "
                "bundle again"
            )


def _fits(found: Axes, wanted: Wanted) -> bool:
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(
        size is None or expected is None or size == expected for size, expected in pairs
    )


def _shown(axes: Wanted) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in axes) + "]"
