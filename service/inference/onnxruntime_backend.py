"""Graphs run by ONNX Runtime."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from model.tables import Inputs
from service.inference.backend import SIGNATURES, Signature, UnusableGraph

Floats = NDArray[np.float32]

_NOWHERE = "/dev/null/external-data-is-refused"
"""A graph from bytes may still name files for its weights, and ONNX Runtime would look them up
in the working directory; below /dev/null there can be none."""


class OnnxRuntimeSession:
    """The three graphs of one model version."""

    def __init__(self, graphs: Mapping[str, ort.InferenceSession]) -> None:
        """Make it.

        Args:
            graphs: sessions by graph name.
        """
        self._group = graphs["group_channel"]
        self._individual = graphs["individual_channel"]
        self._reliability = graphs["reliability"]

    def group_channel(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """As ``Session.group_channel``."""
        logit, injection = self._group.run(SIGNATURES["group_channel"].outputs, inputs)
        return logit, injection

    def individual_channel(self, inputs: Inputs) -> Floats:
        """As ``Session.individual_channel``."""
        logit: Floats = self._individual.run(SIGNATURES["individual_channel"].outputs, inputs)[0]
        return logit

    def reliability(self, activity_R5: Floats) -> Floats:
        """As ``Session.reliability``."""
        feeds = {"activity": activity_R5}
        alpha: Floats = self._reliability.run(SIGNATURES["reliability"].outputs, feeds)[0]
        return alpha


class OnnxRuntimeBackend:
    """Makes sessions on the CPU with a fixed number of threads."""

    def __init__(self, threads: int) -> None:
        """Make it.

        Args:
            threads: threads of one graph run; ONNX Runtime's own default ignores a container's
                CPU limit.
        """
        self._threads = threads

    @property
    def provider(self) -> str:
        """As ``Backend.provider``."""
        return "CPUExecutionProvider"

    def load(self, graphs: Mapping[str, bytes]) -> OnnxRuntimeSession:
        """As ``Backend.load``."""
        return OnnxRuntimeSession(
            {name: self._session(name, graphs[name], SIGNATURES[name]) for name in SIGNATURES}
        )

    def _session(self, name: str, graph: bytes, signature: Signature) -> ort.InferenceSession:
        try:
            session = ort.InferenceSession(graph, self._options(), providers=[self.provider])
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise UnusableGraph(f"{name}.onnx: ONNX Runtime refuses it ({error})") from error
        _check(name, "inputs", signature.inputs, [i.name for i in session.get_inputs()])
        _check(name, "outputs", signature.outputs, [o.name for o in session.get_outputs()])
        return session

    def _options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        # A spinning thread would take the core from the event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", _NOWHERE
        )
        return options


def _check(
    name: str, side: str, expected: frozenset[str] | tuple[str, ...], found: Sequence[str]
) -> None:
    if sorted(found) != sorted(expected):
        raise UnusableGraph(f"{name}.onnx: {side} {sorted(found)}, expected {sorted(expected)}")
