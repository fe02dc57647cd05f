"""Records what FuxiCTR's own metrics say of a few hundred rows, for a test to hold ours against.

FuxiCTR is no dependency. To record again, from the project's root:

    python3 -m venv var/fuxictr
    var/fuxictr/bin/pip install --no-deps fuxictr==2.3.10
    var/fuxictr/bin/pip install numpy polars pandas scikit-learn
    var/fuxictr/bin/python -m tools.record_fuxictr
"""

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "fuxictr_metrics.json"
METRICS = ["AUC", "gAUC", "avgAUC", "logloss"]
ROWS, USERS = 600, 60


def draw_rows(seed: int) -> dict[str, list[float] | list[int]]:
    """Rows with tied scores, users of every size, and users of one class."""
    random = np.random.default_rng(seed)
    user = random.integers(USERS, size=ROWS) * random.integers(1, 3, size=ROWS)
    score = np.round(random.beta(1, 12, ROWS), 2).clip(0.01, 0.99)
    label = random.random(ROWS) < 3 * score
    return {"user": user.tolist(), "score": score.tolist(), "label": label.astype(int).tolist()}


def record(seed: int) -> dict[str, Any]:
    """The rows beside FuxiCTR's figures; needs an interpreter that has FuxiCTR."""
    rows = draw_rows(seed)
    label, score, user = (np.array(rows[name]) for name in ("label", "score", "user"))
    metrics = importlib.import_module("fuxictr.metrics")
    found = metrics.evaluate_metrics(label, score, METRICS, group_id=user)
    return {
        "fuxictr": importlib.metadata.version("fuxictr"),
        "scikit_learn": importlib.metadata.version("scikit-learn"),
        "seed": seed,
        "figures": {name: float(value) for name, value in found.items()},
        "rows": rows,
    }


if __name__ == "__main__":
    FIXTURE.write_text(json.dumps(record(seed=7)) + "\n", encoding="utf-8")
    print(f"wrote {FIXTURE}")
