"""Learning: how a method's model is trained and measured, apart from where its data come from."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from model.network.contract import ConversionModel
from model.network.prediction import predict
from offline.distillation import collapse, mean_alpha_distill
from offline.evaluation import evaluate, gauc_low
from offline.methods.method import Materials, Method
from offline.models import save_state
from offline.presets import Preset
from offline.samples import Samples
from offline.training import TrainResult, train

LOGGER = logging.getLogger(__name__)
NOTHING_TO_TRAIN = TrainResult(steps=0, best_epoch=0, epochs=(), rows_per_s=0.0)

Build = Callable[[Path], None]


def trainer(method: Method, reference: Method, materials: Callable[[], Materials]) -> Build:
    """What trains a method's model.

    Args:
        method: the method.
        reference: whose size a matched method has.
        materials: what the model is made from; asked for when training begins.

    Returns:
        Writes ``state.npz`` and ``training.json`` into a folder, where a killed training resumes.
    """

    def build(out: Path) -> None:
        given = materials()
        samples, preset = given.samples, given.preset
        model = method.make(given, reference)
        began_s, result = time.process_time(), NOTHING_TO_TRAIN
        if any(True for _ in model.parameters()):
            config = replace(preset.train, seed=given.seed, epochs=_epochs(preset, samples))
            result = train(
                model, samples.train, config, out / "checkpoints", samples.validation, gauc_low
            )
        save_state(model, out / "state.npz")
        dense = model.dense_parameters()
        record = asdict(result) | {
            "cpu_s": time.process_time() - began_s,
            "dense_parameters": dense,
            "table_parameters": sum(value.numel() for value in model.parameters()) - dense,
        }
        if warning := collapse(mean_alpha_distill(record)):
            LOGGER.warning("%s, seed %d: %s", method.name, given.seed, warning)
        (out / "training.json").write_text(json.dumps(record, indent=1))

    return build


def evaluator(samples: Callable[[], Samples], model: Callable[[], ConversionModel]) -> Build:
    """What measures a model on the test rows, and on the panel where the data set has one.

    Args:
        samples: as the model's method reads them.
        model: the trained model.

    Returns:
        Writes ``logit.npy``, ``metrics.json`` and, where there are such, ``alpha_fusion.npy`` and
        ``panel_logit.npy`` into a folder.
    """

    def build(out: Path) -> None:
        rows, trained = samples(), model()
        prediction = predict(trained, rows.test)
        np.save(out / "logit.npy", prediction.logit)
        if prediction.alpha_fusion is not None:
            np.save(out / "alpha_fusion.npy", prediction.alpha_fusion)
        if rows.panel is not None:
            np.save(out / "panel_logit.npy", predict(trained, rows.panel).logit)
        metrics = evaluate(prediction.logit, rows.test, prediction.alpha_fusion)
        (out / "metrics.json").write_text(metrics.to_json())

    return build


def _epochs(preset: Preset, samples: Samples) -> int:
    """One pass over large data, the preset's number of epochs over small."""
    return 1 if len(samples.train) >= preset.one_pass_rows else preset.train.epochs
