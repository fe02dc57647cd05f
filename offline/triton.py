"""The Triton repository: a bundle's three graphs, and the ensemble that runs them in order.

Fusion, tables and features stay with the caller, who sends embedded rows and fuses the answers.
Dynamic batching joins requests of equal shapes, so callers pad C to a few sizes.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from model.bundle import GRAPHS, Bundle
from offline.onnx_graphs import Signature, signature

ENSEMBLE = "choirrec"
ENSEMBLE_OUTPUTS = ("individual_logit", "group_logit", "alpha_fusion")
MAX_BATCH_SIZE = 64
PREFERRED_BATCH_SIZES = (8, 16, 32)
MAX_QUEUE_DELAY_US = 500
"""How long a request may wait for others: far below a request's deadline, about one run."""


def write_triton(bundle: Bundle, folder: Path, python_model: Path | None = None) -> None:
    """Write a model repository for ``tritonserver --model-repository``.

    Args:
        bundle: an opened bundle; its model version is the version of every model.
        folder: where the repository will stand; replaced when it exists.
        python_model: a ``model.py`` for servers without the ONNX Runtime backend, such as
            ``deploy/triton/python/model.py``; None for ``backend: "onnxruntime"``.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    signatures = {name: signature(graph) for name, graph in bundle.graphs.items()}
    version = str(bundle.manifest.model_version)
    for name in GRAPHS:
        place = unfinished / name / version
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(bundle.graphs[name])
        if python_model is not None:
            shutil.copyfile(python_model, place / "model.py")
        backend = "onnxruntime" if python_model is None else "python"
        config = model_config(name, backend, signatures[name])
        (unfinished / name / "config.pbtxt").write_text(config)
    (unfinished / ENSEMBLE / version).mkdir(parents=True)
    # Object stores know no empty folders, and Triton wants one per version.
    (unfinished / ENSEMBLE / version / ".keep").touch()
    (unfinished / ENSEMBLE / "config.pbtxt").write_text(ensemble_config(signatures))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def stands(model_version: int, folder: Path) -> bool:
    """Whether a model version stands there as a Triton repository."""
    return (folder / ENSEMBLE / str(model_version)).is_dir()


def model_config(name: str, backend: str, graph: Signature) -> str:
    """``config.pbtxt`` of one graph.

    Args:
        name: the model's name.
        backend: ``onnxruntime`` or ``python``.
        graph: its inputs and outputs.
    """
    sizes = ", ".join(map(str, PREFERRED_BATCH_SIZES))
    return "".join(
        [
            f'name: "{name}"\n',
            f'backend: "{backend}"\n',
            f"max_batch_size: {MAX_BATCH_SIZE}\n",
            *_tensors("input", graph.inputs),
            *_tensors("output", graph.outputs),
            "dynamic_batching {\n",
            f"  preferred_batch_size: [{sizes}]\n",
            f"  max_queue_delay_microseconds: {MAX_QUEUE_DELAY_US}\n",
            "}\n",
        ]
    )


def ensemble_config(signatures: Mapping[str, Signature]) -> str:
    """``config.pbtxt`` of the ensemble: group_channel, then individual_channel; reliability beside.

    Args:
        signatures: inputs and outputs by graph.
    """
    made = {name: dims for graph in signatures.values() for name, dims in graph.outputs.items()}
    taken = {name: dims for graph in signatures.values() for name, dims in graph.inputs.items()}
    inputs = {name: dims for name, dims in taken.items() if name not in made}
    outputs = {name: made[name] for name in ENSEMBLE_OUTPUTS}
    return "".join(
        [
            f'name: "{ENSEMBLE}"\n',
            'platform: "ensemble"\n',
            f"max_batch_size: {MAX_BATCH_SIZE}\n",
            *_tensors("input", inputs),
            *_tensors("output", outputs),
            "ensemble_scheduling {\n",
            *[_step(name, signatures[name]) for name in GRAPHS],
            "}\n",
        ]
    )


def _tensors(field: str, tensors: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [
        f'{field} {{ name: "{name}" data_type: TYPE_FP32 dims: [{", ".join(map(str, dims))}] }}\n'
        for name, dims in tensors.items()
    ]


def _step(name: str, graph: Signature) -> str:
    """One step; every tensor keeps its name throughout the ensemble."""
    maps = [
        f'    {field} {{ key: "{tensor}" value: "{tensor}" }}\n'
        for field, tensors in (("input_map", graph.inputs), ("output_map", graph.outputs))
        for tensor in tensors
    ]
    head = f'    model_name: "{name}"\n    model_version: -1\n'
    return "  step {\n" + head + "".join(maps) + "  }\n"
