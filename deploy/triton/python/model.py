"""A Triton Python-backend model: the graph beside it in onnxruntime, for servers without ONNX.

The interpreter that Triton's stub finds needs onnxruntime and numpy. Stubs up to Triton 2.51 were
built for numpy below 2: with a later one they load, and every output comes back empty.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Runs ``model.onnx`` of its own version folder; Triton makes one per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph.

        Args:
            args: ``model_config`` (JSON), ``model_repository`` (the model's folder) and
                ``model_version``.
        """
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        graph = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(
            graph.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list) -> list:
        """Answer what dynamic batching put together: requests of equal shapes run as one batch.

        Args:
            requests: Triton's requests; each carries its own number of rows R.

        Returns:
            One response per request, in order.
        """
        batches = [self._arrays(request) for request in requests]
        responses: list = [None] * len(requests)
        for members in _equal_shapes(batches):
            joined = {
                name: np.concatenate([batches[n][name] for n in members]) for name in self.inputs
            }
            answers = self.session.run(self.outputs, joined)
            ends = np.cumsum([len(batches[n][self.inputs[0]]) for n in members])
            parts = zip(*[np.split(answer, ends[:-1]) for answer in answers], strict=True)
            for n, part in zip(members, parts, strict=True):
                responses[n] = self._response(part)
        return responses

    def _arrays(self, request: "pb_utils.InferenceRequest") -> dict[str, np.ndarray]:
        return {
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in self.inputs
        }

    def _response(self, arrays: tuple[np.ndarray, ...]) -> "pb_utils.InferenceResponse":
        tensors = [
            pb_utils.Tensor(name, np.ascontiguousarray(array))
            for name, array in zip(self.outputs, arrays, strict=True)
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)


def _equal_shapes(batches: list[dict[str, np.ndarray]]) -> list[list[int]]:
    """Positions of the batches, grouped by the shapes behind their first axis."""
    groups: dict[tuple, list[int]] = {}
    for position, batch in enumerate(batches):
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(batch.items()))
        groups.setdefault(shapes, []).append(position)
    return list(groups.values())
