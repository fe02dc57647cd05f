"""Scoring: what the service costs beside the same graphs in a loop, and how it grows."""

import argparse
import gc
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from loadtests.bench_swap import present_commit
from loadtests.scoring.callers import Round, call, payloads
from loadtests.scoring.raw_loop import RawLoop, raw_loop
from loadtests.scoring.shop import PRESET, Shop, open_shop
from tests.fixtures.redis import running_redis
from tests.fixtures.services import service_process

ROOT = Path("var")
SIZES = (1, 50, 500)


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int
    requests: Mapping[int, int]
    """Of one round, by their number of candidates."""


FULL = Plan(rounds=7, requests={1: 6000, 50: 2000, 500: 300})
QUICK = Plan(rounds=2, requests={1: 500, 50: 200, 500: 40})


def measure(shop: Shop, plan: Plan) -> dict[str, Any]:
    """The service and the raw loop in turns.

    Args:
        shop: what is served.
        plan: how much.

    Returns:
        Figures by name; medians over rounds.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(running_redis(folder))
        shop.publish(redis.url)
        environment = shop.environment(redis.url, folder / "store")
        client, _ = stack.enter_context(service_process(environment))
        pids = [int(worker["pid"]) for worker in client.workers()]
        raw = stack.enter_context(raw_loop(shop, SIZES))
        gc.collect()
        gc.freeze()  # what answers is measured, and not the collector of those who ask
        figures: dict[str, Any] = {}
        for size in SIZES:
            figures |= _beside(shop, size, plan, client.port, pids, raw)
        return figures


def _beside(
    shop: Shop, size: int, plan: Plan, port: int, pids: Sequence[int], raw: RawLoop
) -> dict[str, Any]:
    requests, count = payloads(shop, size), plan.requests[size]
    call(port, pids, requests, count // 4)
    raw.cpu_us(size, count // 4)
    loops: list[float] = []
    again: list[float] = []
    rounds: list[Round] = []
    for _ in tqdm(range(plan.rounds), f"{size} candidates", unit="round"):
        loops.append(raw.cpu_us(size, count))
        rounds.append(call(port, pids, requests, count))
        again.append(raw.cpu_us(size, count))
    pairs = list(zip(loops, rounds, again, strict=True))
    return {
        f"raw_{size}": _round(median((a + b) / 2 / r.cpu_us for a, r, b in pairs)),
        f"aa_{size}": _round(median(a / b for a, _, b in pairs)),
        f"raw_us_{size}": _round(median((a + b) / 2 for a, _, b in pairs)),
        f"service_us_{size}": _round(median(r.cpu_us for r in rounds)),
        f"outside_us_{size}": _round(median(r.cpu_us - (a + b) / 2 for a, r, b in pairs)),
        f"requests_s_{size}": _round(median(r.rate for r in rounds)),
        f"p50_ms_{size}": _round(median(r.latency_ms[0] for r in rounds)),
        f"p99_p50_{size}": _round(median(r.latency_ms[1] / r.latency_ms[0] for r in rounds)),
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> None:
    """Measure, write the figures, print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/score.json"))
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    shop = open_shop(ROOT)
    load = os.getloadavg()[0]
    figures = measure(shop, plan)
    figures |= {
        "setup": {"preset": PRESET, "workers": 1, "plan": asdict(plan)},
        "machine": {"cores": os.cpu_count(), "system": platform.platform()},
        "load_before": round(load, 1),
        "commit": present_commit(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
