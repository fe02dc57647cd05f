"""The inference backend: what the scorer asks of whatever runs the three graphs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.tables import Inputs

Floats = NDArray[np.float32]


class UnusableGraph(ValueError):
    """A graph that cannot be loaded, or whose inputs or outputs are not the documented ones."""


@dataclass(frozen=True)
class Signature:
    """Names of a graph's inputs and outputs; shapes as in docs/architecture.md."""

    inputs: frozenset[str]
    outputs: tuple[str, ...]


SIGNATURES: Mapping[str, Signature] = {
    "group_channel": Signature(
        frozenset(
            {"group_codes", "group_attributes", "group_sequence", "group_mask", "candidates"}
        ),
        ("group_logit", "group_injection"),
    ),
    "individual_channel": Signature(
        frozenset({"user", "history", "history_mask", "candidates", "group_injection"}),
        ("individual_logit",),
    ),
    "reliability": Signature(frozenset({"activity"}), ("alpha_fusion",)),
}


class Session(Protocol):
    """The three graphs of one model version, ready to run. Safe to use from one thread."""

    def group_channel(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """``group_logit [R,C]`` and ``group_injection [R,C,64]``, float32."""
        ...

    def individual_channel(self, inputs: Inputs) -> Floats:
        """``individual_logit [R,C]``, float32."""
        ...

    def reliability(self, activity_R5: Floats) -> Floats:
        """``alpha_fusion [R,1]``, float32."""
        ...


class Backend(Protocol):
    """Makes sessions."""

    @property
    def provider(self) -> str:
        """The execution provider in use, as a manifest's tolerances name it."""
        ...

    def load(self, graphs: Mapping[str, bytes]) -> Session:
        """Make a session from the bytes of the three graphs.

        Raises:
            UnusableGraph: naming the graph and what is wrong with it.
        """
        ...
