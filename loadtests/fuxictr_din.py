"""FuxiCTR's DIN, trained step by step on request, in an environment of its own.

Started by ``bench_train.py``; reads a number of steps per line and answers with their CPU seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from model_zoo.LongCTR.DIN.DIN import DIN
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
ITEM_WIDTHS = {"item": 32, "l1": 16, "leaf": 16}


def feature_map(arrays: Arrays, sizes: dict[str, int]) -> Any:
    """The same fields and widths as ours: a token of 64, a user of 144."""
    features = FeatureMap("bench", "")
    for name, size in sizes.items():
        of_item = name in ITEM_WIDTHS
        width = ITEM_WIDTHS[name] if of_item else 32 if name == "user" else 16
        features.features[name] = {
            "type": "categorical",
            "source": "item" if of_item else "user",
            "vocab_size": size,
            "padding_idx": 0,
            "embedding_dim": width,
        }
    features.labels = ["label"]
    return features


def din(features: Any) -> Any:
    """Its DIN with our layers' sizes, softmax, optimiser and clipping."""
    model = DIN(
        features,
        dnn_hidden_units=[256, 128, 64],
        attention_hidden_units=[64, 32],
        attention_hidden_activations="ReLU",
        din_use_softmax=True,
        embedding_dim=16,
        learning_rate=0.01,
        optimizer="Adagrad",
        loss="binary_crossentropy",
        metrics=["AUC"],
        model_root="",
        verbose=0,
    )
    model._max_gradient_norm = 5.0
    model._batch_index = 0
    return model


def batch(arrays: Arrays, rows: slice) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """One batch as its model takes it: user fields, item fields of steps then candidate, mask."""
    of_user = {name: torch.from_numpy(arrays[name][rows]) for name in arrays["user_fields"]}
    of_user["label"] = torch.from_numpy(arrays["label"][rows])
    steps = arrays["history"][rows]
    items = np.concatenate([steps, arrays["candidate"][rows, None]], axis=1).ravel()
    of_item = {"item": torch.from_numpy(items)}
    for name in ("l1", "leaf"):
        of_item[name] = torch.from_numpy(arrays[f"{name}_of_item"][items])
    return of_user, of_item, torch.from_numpy((steps > 0).astype(np.float32))


def main() -> None:
    """Read the arrays, make every batch, then train as asked."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with np.load(Path(sys.argv[1]), allow_pickle=False) as file:
        arrays = dict(file)
    model = din(feature_map(arrays, json.loads(str(arrays["sizes"]))))
    model.train()
    size = int(arrays["batch_rows"])
    batches = [
        batch(arrays, slice(start, start + size))
        for start in range(0, len(arrays["label"]) - size + 1, size)
    ]
    print(json.dumps({"torch": torch.__version__}), flush=True)
    done = 0
    for line in sys.stdin:
        began = time.process_time()
        for _ in range(int(line)):
            users, items, mask = batches[done % len(batches)]
            model.train_step((users, dict(items), mask)).item()
            done += 1
        print(time.process_time() - began, flush=True)


if __name__ == "__main__":
    main()
