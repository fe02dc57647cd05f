"""The profile writers: profiles per second, tokens and peak memory, each in its own process."""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from model.profile_text import CategoryCount, UserFacts
from offline.openai_client import OpenAIClient
from offline.writers.local_server import local_server
from offline.writers.selection import chat_plan, open_writer
from offline.writers.settings import WriterSettings
from offline.writers.template import TemplateWriter
from offline.writers.writer import ProfileWriter
from tests.fixtures.llm_server import running_llm_server

SEED = 0
USERS = {"template": 20_000, "openai": 1_000, "cached": 1_000, "local": 10}
"""Users of one round. "openai" asks a server on this machine that answers at once: what is measured
is the client. "cached" reads the same answers again."""
ROUNDS = {"template": 5, "openai": 5, "cached": 5, "local": 1}
ATTRIBUTES = {
    "age": ("18-24", "25-34", "35-44", "45-54", "55-64", "65+"),
    "household": ("single", "couple", "family with children"),
    "city": ("village", "town", "large city"),
}
AISLES = ("dairy", "bakery", "produce", "frozen", "drinks", "household", "garden", "sport", "toys")
GOODS = (
    "milk yogurt cheese butter bread rolls cake apples bananas salad pizza fish coffee tea juice"
    " soap paper candles seeds tools pots shoes tents balls puzzles dolls batteries lamps"
).split()
WORDS = ("cheap", "organic", "large", "small", "gift", "best", "new", "used")


def shoppers(count: int, seed: int) -> list[UserFacts]:
    """Made-up users: 1 to 30 purchases over three windows, up to 8 queries, some attributes."""
    draw = random.Random(seed)
    return [_shopper(draw) for _ in range(count)]


def _shopper(draw: random.Random) -> UserFacts:
    bought = [
        CategoryCount(draw.choice(AISLES), draw.choice(GOODS), draw.randint(1, 4))
        for _ in range(draw.randint(1, 12))
    ]
    queries = [f"{draw.choice(WORDS)} {draw.choice(GOODS)}" for _ in range(draw.randint(0, 8))]
    known = {name: draw.choice((*values, None)) for name, values in ATTRIBUTES.items()}
    return UserFacts(known, bought[::3], bought[1::3], bought[2::3], queries)


@contextmanager
def opened(name: str, root: Path) -> Iterator[ProfileWriter]:
    """One writer on a fresh cache."""
    if name == "local":
        with open_writer(WriterSettings(writer="local"), root) as writer:
            yield writer
    elif name == "template":
        yield TemplateWriter()
    else:
        with (
            running_llm_server() as server,
            open_writer(endpoint_settings(server.base_url), root) as writer,
        ):
            yield writer


def endpoint_settings(base_url: str) -> WriterSettings:
    """The writer "openai" on a server here."""
    return WriterSettings(
        writer="openai",
        base_url=base_url,
        model="none",
        revision="1",
        attributes=tuple(ATTRIBUTES),
    )


def measure(name: str, root: Path) -> dict[str, Any]:
    """Median rates over rounds of new users, and this process's peak memory."""
    walls, cpus = [], []
    with opened(name, root) as writer:
        writer.write(shoppers(2, SEED), lambda _: None)
        for number in range(ROUNDS[name]):
            users = shoppers(USERS[name], SEED + 1 + (0 if name == "cached" else number))
            if name == "cached" and number == 0:
                writer.write(users, lambda _: None)
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            written = writer.write(users, lambda _: None)
            walls.append((time.perf_counter() - began_s) / len(users))
            cpus.append((time.process_time() - began_cpu_s) / len(users))
        servers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        server_mib = [_peak_mib(server) for server in servers]
    figures = {
        "identity": writer.provenance.identity,
        "profiles_per_s": round(1 / statistics.median(walls), 2),
        "cpu_ms_per_profile": round(1000 * statistics.median(cpus), 3),
        "by_template": sum(profile.writer == "template" for profile in written) / len(written),
        "mean_chars": round(statistics.fmean(len(" ".join(p.sections)) for p in written)),
        "peak_mib": _peak_mib(),
    }
    if name == "local":
        # The model's process does the work; its processor time is not this process's.
        figures.pop("cpu_ms_per_profile")
        figures |= {"server_peak_mib": server_mib[0], "tokens_per_profile": _tokens(root)}
    return figures


def _tokens(root: Path) -> dict[str, float]:
    """Tokens of each prompt by the local model's tokeniser, and of its own answers."""
    ledger = next(root.glob("local-*/ledger-*.log")).read_bytes().splitlines()
    attempts = [msgspec.json.decode(line.partition(b" ")[2]) for line in ledger]
    mean = {
        f"rewrite_{kind}": statistics.fmean(attempt[f"{kind}_tokens"] for attempt in attempts)
        for kind in ("prompt", "completion")
    }
    with local_server(root) as endpoint:
        plan = chat_plan(endpoint_settings(endpoint.base_url))
        bodies = [plan.body(plan.digest(user, None)) for user in shoppers(10, SEED + 1)]

        async def count() -> list[int]:
            async with OpenAIClient(replace(endpoint, timeout_s=300.0)) as client:
                replies = [
                    await client.post("/chat/completions", body | {"max_tokens": 1})
                    for body in bodies
                ]
            return [json.loads(reply)["usage"]["prompt_tokens"] for reply in replies]

        mean["synthesise_prompt"] = statistics.fmean(asyncio.run(count()))
    return {name: round(value, 1) for name, value in mean.items()}


def main() -> None:
    """Measure, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/writers.json"))
    parser.add_argument("--only", choices=USERS, help="one writer, in this process")
    chosen = parser.parse_args()
    if chosen.only:
        with tempfile.TemporaryDirectory() as root:
            print(json.dumps(measure(chosen.only, Path(root))))
        return
    figures = {"cores": len(os.sched_getaffinity(0)), "writers": {n: _apart(n) for n in USERS}}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


def _peak_mib(process: str = "self") -> int:
    """Peak memory of a process; getrusage would count its parent's as well."""
    status = Path(f"/proc/{process}/status").read_text()
    return round(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)


def _apart(name: str) -> Any:
    command = [sys.executable, "-m", "loadtests.bench_writers", "--only", name]
    found = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 (this very file)
    return json.loads(found.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
