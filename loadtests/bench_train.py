"""Training: ChoirRec beside DIN, our DIN beside the one of FuxiCTR, gathering beside training."""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import venv
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from loadtests.training_rows import GROUPS, ITEMS, STEPS, USERS, feature_spec, rows
from model.baselines.din import Din
from model.losses import LossConfig
from model.network.batch import Split
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.contract import ConversionModel
from model.network.tables import Lookups
from model.spec import FIRST_CODE
from offline.checkpoints import Checkpoints
from offline.memory import KEPT_BYTES
from offline.training import Run, TrainConfig, prepare_process

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".venv-fuxictr"
FUXICTR, TORCH = "2.3.10", "2.13.0"
PEER_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES),
}
"""It keeps freed memory as our training does: by its own default it takes half as long again."""

CANDIDATES = 8
"""Rows of a context, in the setting of whole contexts."""
BATCHES = 16
ROUNDS, STEPS_PER_ROUND, WARM_UP = 15, 4, 4


class Trainer:
    """One model of ours, trained some steps at a time."""

    def __init__(self, model: ConversionModel, split: Split, folder: Path) -> None:
        """Begin a run whose batches come again and again."""
        config = TrainConfig(threads=1)
        self.split, self.rows = split, config.batch_rows
        self.run = Run(model, split, config, Checkpoints(folder))
        self.batches = self.run.batches(0)
        self._next = cycle(self.batches)
        model.train()

    def train(self, steps: int) -> float:
        """CPU seconds of whole steps, gathering included."""
        began = time.process_time()
        for contexts, unknown in islice(self._next, steps):
            self.run.step(contexts, unknown)
        return time.process_time() - began

    def gather(self) -> float:
        """CPU seconds in which as many batches are gathered as there are."""
        began = time.process_time()
        for contexts, unknown in self.batches:
            self.split.context_batch(contexts).with_unknown_users(unknown)
        return time.process_time() - began


class Peer:
    """FuxiCTR's DIN in a process of its own, on the same rows."""

    def __init__(self, lookups: Lookups, split: Split, folder: Path) -> None:
        """Install it where it is missing, hand it the arrays, and wait until it is ready."""
        _install_peer()
        np.savez(folder / "arrays.npz", allow_pickle=False, **_peer_arrays(lookups, split))
        self._process = subprocess.Popen(  # noqa: S603
            [PEER / "bin/python", ROOT / "loadtests/fuxictr_din.py", folder / "arrays.npz"],
            env=os.environ | PEER_SETTINGS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.torch: str = json.loads(self._answer())["torch"]

    def train(self, steps: int) -> float:
        """CPU seconds of whole steps on batches that are there already."""
        if self._process.stdin is not None:
            print(steps, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(
                f"FuxiCTR's process ended with {self._process.wait()}; what it said stands above. "
                f"Remove {PEER} to install it anew"
            )
        return line

    def __enter__(self) -> "Peer":
        """Ready to train."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def _install_peer() -> None:
    done = PEER / f".fuxictr-{FUXICTR}-torch-{TORCH}"
    if done.exists():
        return
    print(f"==> installing FuxiCTR {FUXICTR} beside the project (minutes, once): {PEER}")
    venv.create(PEER, with_pip=True, clear=True)
    pip = [str(PEER / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    index = os.environ.get("TORCH_INDEX")
    from_index = ["--index-url", index] if index else []
    subprocess.run([*pip, f"torch=={TORCH}", *from_index], check=True)  # noqa: S603
    subprocess.run([*pip, f"torch=={TORCH}", f"fuxictr=={FUXICTR}"], check=True)  # noqa: S603
    done.touch()


def _peer_arrays(lookups: Lookups, split: Split) -> dict[str, Any]:
    """The rows of a split with one row per context, in the names of FuxiCTR's model."""
    users, spec = split.users, feature_spec()
    fields = {"user": users.user_row}
    for values, named in ((users.attributes, spec.attributes), (users.context, spec.context)):
        fields |= {field.name: values[:, n] for n, field in enumerate(named)}
    sizes = {"user": USERS, **{f.name: f.size for f in (*spec.attributes, *spec.context)}}
    sizes |= {"item": ITEMS + FIRST_CODE, **{f.name: f.size for f in spec.item_fields}}
    of_item = {
        f"{f.name}_of_item": lookups.item_codes[:, n] for n, f in enumerate(spec.item_fields)
    }
    return {
        **fields,
        **of_item,
        "user_fields": np.array(list(fields)),
        "sizes": np.array(json.dumps(sizes)),
        "history": users.history_items,
        "candidate": split.row_item,
        "label": split.label,
        "batch_rows": TrainConfig().batch_rows,
    }


@dataclass(frozen=True)
class Setting:
    """Our two models on the same rows."""

    din: Trainer
    choirrec: Trainer


def setting(candidates: int, folder: Path) -> tuple[Setting, Lookups]:
    """Fresh models on rows of ``candidates`` per context."""
    contexts = TrainConfig().batch_rows * BATCHES // candidates
    lookups, split = rows(contexts, candidates, seed=0)
    spec, sizes, losses = feature_spec(), NetworkConfig.spec(), LossConfig.identified(3)
    models = Din(spec, sizes, lookups, 0), ChoirRec(spec, sizes, lookups, losses, 0)
    made = [Trainer(model, split, folder / str(n)) for n, model in enumerate(models)]
    return Setting(*made), lookups


def measure(folder: Path) -> dict[str, Any]:
    """Every figure, from rounds in which all take turns."""
    prepare_process(threads=1)
    single, lookups = setting(1, folder / "single")
    whole, _ = setting(CANDIDATES, folder / "whole")
    with Peer(lookups, single.din.split, folder) as peer:
        if peer.torch.split("+")[0] != torch.__version__.split("+")[0]:
            raise RuntimeError(f"torch {peer.torch} beside our {torch.__version__}: not comparable")
        turns = {
            "din": single.din.train,
            "choirrec": single.choirrec.train,
            "fuxictr_din": peer.train,
            "din_contexts": whole.din.train,
            "choirrec_contexts": whole.choirrec.train,
        }
        for turn in turns.values():
            turn(WARM_UP)
        taken = [
            {name: turn(STEPS_PER_ROUND) for name, turn in turns.items()}
            | {"gather": single.din.gather() * STEPS_PER_ROUND / len(single.din.batches)}
            for _ in range(ROUNDS)
        ]
    return figures(taken) | {
        "dense_parameters": {
            "din": single.din.run.model.dense_parameters(),
            "choirrec": single.choirrec.run.model.dense_parameters(),
        }
    }


def figures(taken: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over rounds of the ratios within a round, and rows per CPU second."""

    def ratio(above: str, below: str) -> float:
        return round(statistics.median(one[above] / one[below] for one in taken), 3)

    def quartiles(above: str, below: str) -> list[float]:
        cuts = statistics.quantiles((one[above] / one[below] for one in taken), n=4)
        return [round(cuts[0], 3), round(cuts[2], 3)]

    rows_done = TrainConfig().batch_rows * STEPS_PER_ROUND
    return {
        "method": (
            "medians over rounds, all taking turns, of CPU seconds of whole steps: gathering, "
            "forward, backward, clipping, Adagrad; FuxiCTR is handed batches that are there "
            "already. Rows drawn singly, or (contexts) 8 candidates to a user. loader_ratio: rows "
            "a second gathered from arrays over rows a second that DIN's training takes"
        ),
        "cost_ratio": ratio("choirrec", "din"),
        "cost_ratio_quartiles": quartiles("choirrec", "din"),
        "cost_ratio_contexts": ratio("choirrec_contexts", "din_contexts"),
        "cost_ratio_contexts_quartiles": quartiles("choirrec_contexts", "din_contexts"),
        "vs_fuxictr_din": ratio("fuxictr_din", "din"),
        "vs_fuxictr_din_quartiles": quartiles("fuxictr_din", "din"),
        "loader_ratio": ratio("din", "gather"),
        "rows_per_cpu_s": {
            name: round(rows_done / statistics.median(one[name] for one in taken))
            for name in taken[0]
        },
    }


def main() -> None:
    """Measure, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/train.json"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    found |= {
        "batch_rows": TrainConfig().batch_rows,
        "steps": STEPS,
        "candidates_per_context": CANDIDATES,
        "distinct_priors": GROUPS,
        "users": USERS,
        "items": ITEMS,
        "rounds": ROUNDS,
        "threads": 1,
        "torch": torch.__version__,
        "fuxictr": FUXICTR,
    }
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
