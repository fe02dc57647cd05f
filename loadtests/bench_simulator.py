"""The simulator: seconds and peak memory for a million users."""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from offline.datasets.simulated.constants import CONSTANTS
from offline.datasets.simulator import build
from offline.events import TABLES

WORLD = 1


def measure(users: int) -> dict[str, Any]:
    """Simulate a data set in a folder that is thrown away.

    Args:
        users: how many.

    Returns:
        Seconds by the clock and of one core, peak memory of the process, rows by table.
    """
    with tempfile.TemporaryDirectory(prefix="choirrec-simulator-") as folder:
        began, cpu_began = time.monotonic(), time.process_time()
        tables = build(Path(folder) / "tables", WORLD, users)
        seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
        rows = {name: pq.read_metadata(tables.path(name)).num_rows for name in TABLES}
        files = [path for path in tables.folder.rglob("*") if path.is_file()]
        disk_bytes = sum(path.stat().st_size for path in files)
    return {
        "world": WORLD,
        "users": users,
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "disk_mib": round(disk_bytes / 2**20),
        "rows": rows,
        "constants": CONSTANTS.digest(),
    }


def main() -> None:
    """Measure, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/simulator.json"))
    parser.add_argument("--users", type=int, default=1_000_000)
    chosen = parser.parse_args()
    figures = measure(chosen.users)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
