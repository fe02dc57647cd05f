"""Parity: whether exported graphs answer as the trained network does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from model.assembly import GroupArrays, Ids, UserArrays
from model.network.batch import Batch, Split
from model.network.choirrec import ChoirRec
from model.tables import Tables

Floats = NDArray[np.float32]
Arrays = TypeVar("Arrays", UserArrays, GroupArrays)

PARITY_ROWS = 10_000
CONTEXTS_PER_RUN = 32


@dataclass(frozen=True)
class Parity:
    """How well the exported graphs repeat the trained network."""

    max_difference: float
    """Largest |difference| / max(1, |logit|) over both logits and alpha_fusion."""
    rows: int


@dataclass(frozen=True, eq=False)
class Logits:
    """What the three graphs say, float32 ``[R, C]``, ``[R, C]`` and ``[R, 1]``."""

    individual_logit: Floats
    group_logit: Floats
    alpha_fusion: Floats

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """The three."""
        return self.individual_logit, self.group_logit, self.alpha_fusion


class UnusableGraphs(ValueError):
    """Graphs that ONNX Runtime refuses to load or to run: which, and why."""


class GraphRunner:
    """The three graphs in ONNX Runtime, one thread."""

    def __init__(self, models: Mapping[str, bytes]) -> None:
        """Make the sessions.

        Args:
            models: serialised graphs by name.

        Raises:
            UnusableGraphs: when ONNX Runtime refuses one.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._sessions = {}
        for name, model in models.items():
            with _explained(name):
                self._sessions[name] = onnxruntime.InferenceSession(
                    model, options, providers=["CPUExecutionProvider"]
                )

    def run(self, inputs: Mapping[str, Floats]) -> Logits:
        """Run the graphs in their order.

        Args:
            inputs: every input of docs/architecture.md but ``group_injection``.

        Raises:
            UnusableGraphs: when one does not run on them.
        """
        group_logit, injection = self._run("group_channel", inputs)
        (individual,) = self._run("individual_channel", {**inputs, "group_injection": injection})
        (alpha,) = self._run("reliability", inputs)
        return Logits(individual, group_logit, alpha)

    def _run(self, name: str, inputs: Mapping[str, Floats]) -> list[Floats]:
        session = self._sessions[name]
        with _explained(name):
            outputs: list[Floats] = session.run(
                None, {wanted.name: inputs[wanted.name] for wanted in session.get_inputs()}
            )
        return outputs


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise UnusableGraphs(f"{name}.onnx: ONNX Runtime refuses it ({error})") from error


def check_parity(
    model: ChoirRec,
    runner: "GraphRunner",
    tables: Tables,
    split: Split,
    rows: int = PARITY_ROWS,
    seed: int = 0,
) -> Parity:
    """Compare network and graphs on real rows.

    The graphs see the candidates of each context in another order and in two pieces, so what
    holds here holds for any order and split.

    Args:
        model: the trained network.
        runner: the exported graphs.
        tables: the exported tables.
        split: N rows.
        rows: stop after about as many; all rows when there are fewer.
        seed: decides orders and pieces.

    Returns:
        The largest difference found and the rows compared.
    """
    rng = np.random.default_rng(seed)
    worst, compared = 0.0, 0
    for block in split.blocks:
        for start in range(0, len(block), CONTEXTS_PER_RUN):
            if compared >= rows:
                return Parity(worst, compared)
            rows_RC = block[start : start + CONTEXTS_PER_RUN]
            expected = network_logits(model, split.batch(rows_RC))
            contexts = split.row_context[rows_RC[:, 0]]
            users = _take(split.users, contexts)
            groups = _take(split.groups, split.group_index[contexts])
            found = _scattered(runner, tables, users, groups, split.row_item[rows_RC], rng)
            worst = max(worst, difference(expected, found))
            compared += rows_RC.size
    return Parity(worst, compared)


def difference(expected: Logits, found: Logits) -> float:
    """Largest |difference| / max(1, |expected|); infinite where something is not finite."""
    worst = 0.0
    for one, other in zip(expected.arrays, found.arrays, strict=True):
        relative = np.abs(one - other) / np.maximum(1, np.abs(one))
        worst = max(worst, float(np.where(np.isfinite(relative), relative, np.inf).max(initial=0)))
    return worst


@torch.no_grad()
def network_logits(model: ChoirRec, batch: Batch) -> Logits:
    """What the trained network says about a batch."""
    channels = model.channels(model.embed(batch))
    return Logits(
        channels.individual_logit.numpy(),
        channels.group_logit.numpy(),
        channels.alpha_fusion.numpy(),
    )


def _scattered(
    runner: GraphRunner,
    tables: Tables,
    users: UserArrays,
    groups: GroupArrays,
    items_RC: Ids,
    rng: np.random.Generator,
) -> Logits:
    """What the graphs say when the candidates come shuffled and in two pieces, put back."""
    inputs = {
        **tables.user_inputs(users),
        **tables.group_inputs(groups),
        "activity": users.activity,
    }
    count = items_RC.shape[1]
    order, cut = rng.permutation(count), int(rng.integers(0, count))
    pieces = [piece for piece in (order[:cut], order[cut:]) if len(piece)]
    parts = [
        runner.run({**inputs, "candidates": tables.item_tokens[items_RC[:, piece]]})
        for piece in pieces
    ]
    back = np.argsort(order)
    return Logits(
        np.concatenate([part.individual_logit for part in parts], axis=1)[:, back],
        np.concatenate([part.group_logit for part in parts], axis=1)[:, back],
        parts[0].alpha_fusion,
    )


def _take(arrays: Arrays, rows: Ids) -> Arrays:
    columns: dict[str, Any] = {f.name: getattr(arrays, f.name)[rows] for f in fields(arrays)}
    return replace(arrays, **columns)
