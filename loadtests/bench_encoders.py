"""The text encoders: texts per second and peak memory, each in a process of its own."""

import argparse
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
from pathlib import Path
from typing import Any

from model.encoder import TextEncoder
from model.profile_text import CategoryCount, UserFacts, render
from model.wordllama_encoder import WordLlamaEncoder
from offline.artefacts import Store
from offline.encoders import open_minilm
from offline.openai_client import Endpoint
from offline.openai_encoder import EmbeddingModel, OpenAIEncoder
from tests.fixtures.embedding_server import LLAMA_MODEL, LLAMA_WIDTH, embedding_llama

SEED = 0
TEXTS = {"wordllama": 4000, "minilm": 100, "openai": 20}
"""Texts of one round: about a second or two for each encoder."""
ROUNDS = 5
AISLES = ("dairy", "bakery", "produce", "frozen", "drinks", "household", "garden", "sport", "books")
GOODS = (
    "milk yogurt cheese butter bread rolls cake apples bananas salad pizza fish coffee tea juice"
    " soap paper candles seeds tools pots shoes tents balls novels maps poems batteries lamps"
).split()
CITIES = ("north", "south", "east", "west", "harbour", "hill")


def profile_texts(count: int, seed: int) -> list[str]:
    """Sections of made-up template profiles: two of three tell purchases, one attributes."""
    draw = random.Random(seed)
    texts: list[str] = []
    while len(texts) < count:
        bought = [
            CategoryCount(draw.choice(AISLES), draw.choice(GOODS), draw.randint(1, 9))
            for _ in range(draw.randint(3, 20))
        ]
        known: dict[str, str | float | None] = {
            "age": f"{draw.randint(18, 80)}",
            "city": draw.choice(CITIES),
        }
        profile = render(UserFacts(known, recent=bought[::2], medium=bought[1::2]))
        texts += [text for text in profile.sections if text]
    return texts[:count]


@contextmanager
def opened(name: str, root: Path) -> Iterator[TextEncoder]:
    """One encoder; "openai" asks a real small model in a server process on this machine."""
    if name == "wordllama":
        yield WordLlamaEncoder()
    elif name == "minilm":
        yield open_minilm(Store(root / "artefacts", say=lambda _: None))
    else:
        model = EmbeddingModel(LLAMA_MODEL, "1", LLAMA_WIDTH, pooling="mean", instruction="")
        with embedding_llama() as url:
            yield OpenAIEncoder(Endpoint(url), model)


def measure(name: str, root: Path) -> dict[str, Any]:
    """Median texts per second over rounds of new texts, and this process's peak memory."""
    before = _peak_mib()
    with opened(name, root) as encoder:
        encoder.encode(profile_texts(8, SEED))
        rates = []
        for number in range(ROUNDS):
            texts = profile_texts(TEXTS[name], SEED + 1 + number)
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            encoder.encode(texts)
            rates.append((time.perf_counter() - began_s, time.process_time() - began_cpu_s))
        servers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        server_peaks = [_peak_mib(server) for server in servers]
    wall_s, cpu_s = (statistics.median(column) for column in zip(*rates, strict=True))
    words = [len(text.split()) for text in profile_texts(1000, SEED + 1)]
    figures = {
        "identity": encoder.identity,
        "width": encoder.width,
        "texts_per_s": round(TEXTS[name] / wall_s, 1),
        "texts_per_cpu_s": round(TEXTS[name] / cpu_s, 1),
        "mean_words": round(statistics.fmean(words), 1),
        "peak_mib": _peak_mib(),
        "peak_before_opening_mib": before,
    }
    if name == "openai":
        # The server does the work: its memory counts, and its processor time is not ours to see.
        figures.pop("texts_per_cpu_s")
        figures |= {"server": "llama.cpp, 1 thread", "server_peak_mib": server_peaks[0]}
    return figures


def main() -> None:
    """Measure, write the figures and print them as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/encoders.json"))
    parser.add_argument("--only", choices=TEXTS, help="one encoder, in this process")
    parser.add_argument("--root", type=Path, help="where the graph of --only minilm stands")
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(measure(chosen.only, chosen.root)))
        return
    with tempfile.TemporaryDirectory() as root:
        with opened("minilm", Path(root)):  # exported here, so that it is not measured
            pass
        figures = {"encoders": {name: _apart(name, root) for name in TEXTS}}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


def _peak_mib(process: str = "self") -> int:
    """Peak memory of a process; getrusage would count its parent's as well."""
    status = Path(f"/proc/{process}/status").read_text()
    return round(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)


def _apart(name: str, root: str) -> Any:
    command = [sys.executable, "-m", "loadtests.bench_encoders", "--only", name, "--root", root]
    found = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 (this very file)
    return json.loads(found.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
