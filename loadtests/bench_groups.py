"""Groups: what a fit costs and leaves beside scikit-learn's, and how fast users are assigned."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from model.codebooks import Codebooks, nearest
from offline.assignment import THREADS, assign_all
from offline.groups import fit_groups
from offline.vectors import VectorFile

SET = "clustered-10k-512"
USERS, WIDTH, CENTRES = 10_000, 512, 64
NOISE = 0.7
"""Length of a user's own part beside a centre of length 1."""
LEVELS = 3
SEEDS = 5
ASSIGNED_USERS = 10_000_000
ASSIGNED_WIDTH = 256
ROOM = 1.5
"""Free disk wanted, as a multiple of the vectors' size."""
_ROWS_AT_ONCE = 65_536
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def clustered(seed: int) -> NDArray[np.float32]:
    """The set: unit vectors around 64 directions whose shares fall as 1/rank."""
    random = np.random.default_rng([20_240_101, seed])
    centres = _unit(random.normal(size=(CENTRES, WIDTH)))
    shares = 1 / np.arange(1, CENTRES + 1)
    label = random.choice(CENTRES, USERS, p=shares / shares.sum())
    own = random.normal(scale=NOISE / np.sqrt(WIDTH), size=(USERS, WIDTH))
    return _unit(centres[label] + own).astype(np.float32)


def compare(seed: int) -> dict[str, Any]:
    """Fit the set twice, with one set of seeds a level each: residual energies and CPU seconds."""
    vectors = clustered(0)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        ours = fit_groups(vectors, LEVELS, CENTRES, seed, Path(folder), restarts=1)
        ours_s = time.process_time() - began
    began = time.process_time()
    theirs = _scikit_learn(vectors, seed)
    theirs_s = time.process_time() - began
    ratios = [
        a / b for a, b in zip(_energies(vectors, ours), _energies(vectors, theirs), strict=True)
    ]
    return {"ratios": ratios, "ours_cpu_s": ours_s, "scikit_learn_cpu_s": theirs_s}


def fit_figures() -> dict[str, Any]:
    """Both fits over several seeds: medians."""
    runs = [compare(seed) for seed in range(SEEDS)]
    by_level = np.median([run["ratios"] for run in runs], axis=0).tolist()
    ours, theirs = (
        statistics.median(run[f"{name}_cpu_s"] for run in runs) for name in ("ours", "scikit_learn")
    )
    return {
        "set": SET,
        "seeds": SEEDS,
        "mse_ratio": round(by_level[-1], 4),
        "mse_ratio_by_level": [round(ratio, 4) for ratio in by_level],
        "mse_ratio_worst": round(max(max(run["ratios"]) for run in runs), 4),
        "speedup": round(theirs / ours, 2),
        "speedup_worst": round(
            min(run["scikit_learn_cpu_s"] / run["ours_cpu_s"] for run in runs), 2
        ),
        "cpu_s": round(ours, 3),
        "scikit_learn_cpu_s": round(theirs, 3),
    }


def assignment_figures(vectors: Path) -> dict[str, Any]:
    """Fit on a sample, assign all: rates and the process's peak memory."""
    users = VectorFile(vectors)
    began = time.perf_counter()
    codebooks = fit_groups(users, LEVELS, None, 0, vectors.parent / "checkpoints")
    fitted, fitted_cpu = time.perf_counter(), time.process_time()
    assign_all(users, codebooks, vectors.parent)
    took, cpu = time.perf_counter() - fitted, time.process_time() - fitted_cpu
    return {
        "users": users.shape[0],
        "width": users.shape[1],
        "levels": LEVELS,
        "codes_per_level": codebooks.codes_per_level,
        "fit_s": round(fitted - began, 1),
        "assign_s": round(took, 1),
        "users_per_s": round(users.shape[0] / took),
        "assign_cpu_s": round(cpu, 1),
        "users_per_cpu_s": round(users.shape[0] / cpu),
        "threads": THREADS,
        "peak_memory_bytes": _peak_memory_bytes(),
        "vectors_bytes": vectors.stat().st_size,
    }


def _peak_memory_bytes() -> int:
    """Of this program alone: getrusage would count what the parent held before it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def write_vectors(path: Path, users: int) -> None:
    """Unit vectors around many directions, written piece by piece."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(4096, ASSIGNED_WIDTH)).astype(np.float32)
    file = open_memmap(path, mode="w+", dtype=np.float32, shape=(users, ASSIGNED_WIDTH))
    for start in range(0, users, _ROWS_AT_ONCE):
        size = min(_ROWS_AT_ONCE, users - start)
        own = random.standard_normal((size, ASSIGNED_WIDTH), dtype=np.float32)
        file[start : start + size] = _unit(centres[random.integers(len(centres), size=size)] + own)
    file.flush()


def main() -> None:
    """Measure in processes of their own, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/groups.json"))
    parser.add_argument(
        "--users", type=int, help="users to assign; default 10 M, 1 M on a full disk"
    )
    parser.add_argument("--part", choices=("fit", "assign"), help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps(_part(chosen.part, chosen.vectors)))
        return
    figures = _measured("fit", _ONE_THREAD)
    with tempfile.TemporaryDirectory(dir=chosen.out.parent, prefix=".bench-groups-") as folder:
        vectors = Path(folder) / "embeddings.npy"
        write_vectors(vectors, chosen.users or _users_that_fit(vectors.parent))
        figures["assignment"] = _measured("assign", {}, vectors)
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


def _part(part: str, vectors: Path) -> dict[str, Any]:
    return fit_figures() if part == "fit" else assignment_figures(vectors)


def _measured(
    part: str, environment: dict[str, str], vectors: Path | None = None
) -> dict[str, Any]:
    """A part's figures, from a process of its own: threads and peak memory are per process."""
    command = [sys.executable, "-m", "loadtests.bench_groups", "--part", part]
    command += ["--vectors", str(vectors)] if vectors else []
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _users_that_fit(folder: Path) -> int:
    wanted = ROOM * 4 * ASSIGNED_USERS * ASSIGNED_WIDTH
    return ASSIGNED_USERS if shutil.disk_usage(folder).free > wanted else ASSIGNED_USERS // 10


def _scikit_learn(vectors: NDArray[np.float32], seed: int) -> Codebooks:
    centroids = []
    for _ in range(LEVELS):
        fitted = KMeans(CENTRES, n_init=1, random_state=seed).fit(vectors)
        centroids.append(fitted.cluster_centers_.astype(np.float32))
        vectors = vectors - centroids[-1][fitted.labels_]
    return Codebooks(np.stack(centroids))


def _energies(vectors: NDArray[np.float32], codebooks: Codebooks) -> list[float]:
    """Mean squared residual after each level, every level by its nearest centroid."""
    energies = []
    for centroids in codebooks.centroids:
        vectors = vectors - centroids[nearest(vectors, centroids)]
        energies.append(float(np.mean(np.sum(vectors.astype(np.float64) ** 2, axis=1))))
    return energies


def _unit(rows: NDArray[Any]) -> NDArray[Any]:
    unit: NDArray[Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
