"""Parts of the bench: each on replicas of its own, and with the figures that it gives."""

import asyncio
import gc
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from loadtests.swaps.callers import Answer, Callers
from loadtests.swaps.demo_shop import DemoShop
from loadtests.swaps.fingerprints import Fingerprints
from loadtests.swaps.lanes import Lane, open_lanes
from loadtests.swaps.planted import FAULTS
from loadtests.swaps.planted_replica import PROGRAM
from loadtests.swaps.replicas import SERVICE, Replica
from loadtests.swaps.rollbacks import roll_back_under_load, rollback_figures
from loadtests.swaps.shadowing import shadow_figures
from loadtests.swaps.shop import Shop
from loadtests.swaps.sides import canary_figures
from loadtests.swaps.stage import FIRST, course, stage
from loadtests.swaps.swapping import Swap, swap_figures, swap_under_load
from loadtests.swaps.tiny_shop import TinyShop
from model.desired import Target
from service.api.server import new_loop

LINES = 8
"""Connections per worker."""
CALLERS_PRIORITY = -5
AT_ONCE = 3
"""Requests under way per worker while the capacity is measured."""
DEMO_VERSIONS = 4
"""An export takes seconds, so that few versions take turns."""
PLANTED_RATE = 100.0
"""Requests per second for workers that swap wrongly, whose latencies mean nothing."""
STRETCH = 20
"""Swaps between two measurements of the capacity: others may use the machine, too."""
LOAD = 0.6
"""Of the capacity."""
TRIED = 0.35
"""Of what callers who wait can get: the rate at which the cores' time is looked at."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    swaps: int
    """Measured ones, half of models and half of generations."""
    warm_up: int
    """Swaps before memory is first looked at."""
    rest_s: float
    """Quiet time after each swap."""
    saturate_s: float
    """For each measurement of the capacity."""
    demo_swaps: int
    """Of bundles of the demo's sizes."""
    planted_swaps: int
    rollbacks: int
    users: int
    """Of the canary."""
    shadow_rounds: int
    shadow_s: float
    """Of each window with the shadow, and without."""


FULL = Plan(
    swaps=200,
    warm_up=20,
    rest_s=0.7,
    saturate_s=3.0,
    demo_swaps=60,
    planted_swaps=20,
    rollbacks=20,
    users=100_000,
    shadow_rounds=5,
    shadow_s=8.0,
)
QUICK = Plan(
    swaps=20,
    warm_up=8,
    rest_s=0.3,
    saturate_s=1.0,
    demo_swaps=8,
    planted_swaps=12,
    rollbacks=4,
    users=2_000,
    shadow_rounds=2,
    shadow_s=3.0,
)


@dataclass(frozen=True)
class Scene:
    """Replicas that run, and those who call them."""

    replicas: Sequence[Replica]
    lanes: Sequence[Lane]
    callers: Callers

    async def capacity(self, seconds: float) -> float:
        """Requests per second at which callers who do not wait would leave no core idle.

        Callers who wait for answers get more out of the same cores, for their requests wake a
        worker less often; 60 % of that is already more than 90 % of the cores.
        """
        most = await self.callers.saturate(AT_ONCE, seconds)
        stop, rate = asyncio.Event(), most * TRIED
        offering = asyncio.create_task(self.callers.offer(rate, stop))
        before = busy_and_all()
        await asyncio.sleep(seconds)
        busy, total = (after - one for after, one in zip(busy_and_all(), before, strict=True))
        stop.set()
        await offering
        self.callers.answers.clear()
        return rate * total / busy


Act = Callable[[Scene], Coroutine[Any, Any, dict[str, Any]]]


def play(
    shop: Shop, targets: Sequence[Target], act: Act, program: Sequence[str] = SERVICE
) -> dict[str, Any]:
    """Run something on replicas that are started for it.

    Args:
        shop: what is served.
        targets: that will serve, in order.
        act: what to do.
        program: the service, or a broken one.
    """
    fingerprints = Fingerprints(shop, targets)

    async def run(replicas: Sequence[Replica]) -> dict[str, Any]:
        lanes = await open_lanes(replicas, LINES)
        with _first():
            return await act(Scene(replicas, lanes, Callers(lanes, fingerprints, seed=1)))

    with (
        tempfile.TemporaryDirectory(prefix="choirrec-swaps-") as folder,
        _uninterrupted(),
        stage(Path(folder), shop, targets, program) as running,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        return runner.run(run(running))


def swaps(
    plan: Plan,
    shop: Shop | None = None,
    versions: int | None = None,
    program: Sequence[str] = SERVICE,
    rate: float | None = None,
) -> dict[str, Any]:
    """Models and generations swapped under load.

    Args:
        plan: how many.
        shop: what is served; None: the tiny one.
        versions: after as many, versions and generations begin again; None: each comes once.
        program: the service, or a broken one.
        rate: requests per second; None: 60 % of what is measured just before each stretch.
    """
    targets = course(plan.warm_up + plan.swaps, versions)

    async def act(scene: Scene) -> dict[str, Any]:
        made: list[Swap] = []
        answers: list[Answer] = []
        capacities = []
        for place in tqdm(range(0, len(targets) - 1, STRETCH), unit="stretch"):
            stretch = targets[place : place + STRETCH + 1]
            capacities.append(await scene.capacity(plan.saturate_s))
            offered = rate or LOAD * capacities[-1]
            made += await swap_under_load(
                scene.replicas, scene.callers, offered, stretch, plan.rest_s
            )
            answers += scene.callers.answers
            scene.callers.answers.clear()
        return {
            **swap_figures(FIRST, made, answers, plan.warm_up),
            "capacity": {
                "least": round(min(capacities)),
                "median": round(median(capacities)),
                "most": round(max(capacities)),
            },
            "offered": round(rate or LOAD * median(capacities)),
            **_lateness(answers),
        }

    return play(shop or TinyShop(), targets, act, program)


def demo_swaps(plan: Plan) -> dict[str, Any]:
    """The same with bundles of the demo's sizes, a few of which take turns."""
    return swaps(replace(plan, swaps=plan.demo_swaps), DemoShop(), DEMO_VERSIONS)


def rollbacks(plan: Plan, rate: float | None = None) -> dict[str, Any]:
    """Rollbacks under load; arguments as ``swaps``."""
    targets = course(1)

    async def act(scene: Scene) -> dict[str, Any]:
        offered = rate or LOAD * await scene.capacity(plan.saturate_s)
        pair = (targets[0], targets[1])
        made = await roll_back_under_load(
            scene.replicas, scene.callers, offered, pair, plan.rollbacks
        )
        return rollback_figures(made, scene.callers.answers)

    return play(TinyShop(), targets, act)


def canary(plan: Plan) -> dict[str, Any]:
    """The share of a canary, and whether users stay."""
    targets = course(1)
    shop = TinyShop()

    async def act(scene: Scene) -> dict[str, Any]:
        return await canary_figures(shop, scene.replicas, scene.lanes, targets[1], plan.users)

    return play(shop, targets, act)


def shadow(plan: Plan, rate: float | None = None) -> dict[str, Any]:
    """What a shadow costs the champion's callers; arguments as ``swaps``."""
    targets = course(1)

    async def act(scene: Scene) -> dict[str, Any]:
        offered = rate or LOAD * await scene.capacity(plan.saturate_s)
        return await shadow_figures(
            scene.replicas, scene.callers, offered, targets[1], plan.shadow_rounds, plan.shadow_s
        )

    return play(TinyShop(), targets, act)


def planted(plan: Plan, fault: str) -> dict[str, Any]:
    """Swaps by workers that swap wrongly.

    Args:
        plan: how many.
        fault: a name of ``FAULTS``.
    """
    if fault not in FAULTS:
        raise ValueError(f"fault {fault!r}, known are {', '.join(FAULTS)}")
    smaller = replace(QUICK, swaps=plan.planted_swaps)
    return swaps(smaller, program=(PROGRAM, fault), rate=PLANTED_RATE)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """No search for cycles among 100,000s of answers while requests are due."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _first() -> Iterator[None]:
    """Where it is allowed, callers do not wait for the cores that those whom they measure take.

    Replicas and Redis run already, at the usual priority.
    """
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(usual, CALLERS_PRIORITY))
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)


def busy_and_all() -> tuple[int, int]:
    """Time of all cores so far, in ticks: busy with anything, and altogether."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    ticks = [int(field) for field in line.split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _lateness(answers: Sequence[Answer]) -> Mapping[str, float]:
    """How late requests were sent: this process's own doing, and waiting for a connection."""
    late = np.array([answer.sent_s - answer.planned_s for answer in answers])
    return {"sent_late_p99_ms": round(1000 * float(np.quantile(late, 0.99)), 2)}
