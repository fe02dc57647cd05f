"""The demo: the whole way, from the household panel to two answered requests."""

import json
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.repository import Repository
from offline.artefacts import Store
from offline.embedded_redis import embedded_redis
from offline.evidence.model_report import model_report
from offline.histories import seconds
from offline.local_service import LocalService, local_service
from offline.presets import PRESETS
from offline.product import Product
from offline.release import Records, cut_records, publish_records, release
from offline.sampling import periods
from offline.sources import complete_journey

SEED = 0
SHORT_HOUSEHOLDS = 600
CANDIDATES = (6, 14)
LOAD_ITEMS = 2000


@dataclass(frozen=True)
class Example:
    """A real request of the test period, with what came of it."""

    title: str
    user_id: str
    item_ids: Sequence[str]
    bought: Sequence[bool]
    request_time_s: int


def demonstrate(root: Path, once: bool, short: bool) -> None:
    """Run the whole way and show two answers.

    Args:
        root: where everything is written.
        once: end after the answers; else serve until interrupted.
        short: fewer households and one epoch: to see it work, not for figures.

    Raises:
        ServiceFailed: when the service does not become ready, or refuses a request.
    """
    began = time.monotonic()
    preset = PRESETS["demo"].shortened() if short else PRESETS["demo"]
    households = SHORT_HOUSEHOLDS if short else None
    print(f"Preset {preset.name!r}: smaller than the sizes of the specification, for speed.")
    print("1. From the log to a model (stages whose inputs are unchanged are skipped)")
    product = Product(Store(root / "artefacts"), complete_journey("design", households), preset)
    _print_metrics(product)
    print("2. The model into the repository, the records into Redis")
    records = cut_records(product, product.served_cut())
    repository = Repository(str(root / "repository"))
    report = model_report(product, product.method, SEED)
    released = release(product, records, repository, SEED, root / "triton", report)
    state = "exported" if released.new else "unchanged"
    print(f"  bundle       version {released.version} ({state}) in {root / 'repository'}")
    with embedded_redis(root / "redis") as redis:
        published = publish_records(records, redis.url)
        print(
            f"  generation   {published.generation.name}: {published.records} records "
            f"in {redis.url} ({published.seconds:.1f} s)"
        )
        _forget_state(root)
        settings = {
            "STATE": str(root / "state"),
            "REPOSITORY": repository.url,
            "STORE": str(root / "store"),
            "REDIS_URL": redis.url,
            "MODEL_VERSION": str(released.version),
            "GENERATION": published.generation.name,
            "DRAIN_S": "0",
        }
        with local_service(settings, root / "service.log") as service:
            took = time.monotonic() - began
            print(f"3. The service answers at {service.url} ({took:.0f} s after start)")
            examples = choose_examples(product)
            names = _item_names(product)
            for example in examples:
                answer = service.score(_call(example))
                print(answer_table(example, answer, names))
            _write_load(root / "load.json", service.url, records, product)
            _print_next(root, service, examples[0])
            if not once:
                print("Serving until interrupted (Ctrl-C).", flush=True)
                signal.pause()


def _forget_state(root: Path) -> None:
    """Let the service begin with what was just built, and not with what an earlier demo served."""
    shutil.rmtree(root / "state", ignore_errors=True)
    for copy in (root / "store").glob("desired-*.json"):
        copy.unlink()


def _print_metrics(product: Product) -> None:
    metrics = product.metrics(product.method, SEED)
    print(
        f"  test rows    GAUC {metrics['gauc_low']:.4f} low-activity, "
        f"{metrics['gauc_overall']:.4f} overall (one seed: no claim)"
    )


def choose_examples(product: Product) -> tuple[Example, Example]:
    """The first fitting test request of a low-activity and of a high-activity user."""
    samples = product.load_samples(product.grouping)
    split = samples.test
    tables = product.tables()
    period = periods(tables.schema.split)[2]
    times = seconds(tables.clicks()["time"])
    clicks = tables.clicks().take(
        np.flatnonzero((times >= period.start_s) & (times < period.end_s))
    )
    sizes = np.bincount(split.row_context)
    codes = split.groups.codes[split.group_index, 0]
    grouped = codes < samples.spec.codes_per_level
    fitting = (sizes >= CANDIDATES[0]) & (sizes <= CANDIDATES[1]) & grouped

    def example(title: str, level: int) -> Example:
        row = int(np.flatnonzero(fitting[split.row_context] & (split.row_level == level))[0])
        shown = clicks.take(np.flatnonzero(split.row_context == split.row_context[row]))
        return Example(
            title=title,
            user_id=str(shown["user_id"][0]),
            item_ids=[str(item) for item in shown["item_id"].to_pylist()],
            bought=[bool(label) for label in shown["label"].to_pylist()],
            request_time_s=int(seconds(shown["time"])[0]),
        )

    return example("a low-activity user", 1), example("a high-activity user", 5)


def answer_table(example: Example, answer: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """An answer as lines of text, best score first."""
    user = answer["user"]
    head = (
        f"\n  {example.title}: user {example.user_id}, activity level {user['activity_level']}, "
        f"group {user['group_id']}, prior of prefix {user['prefix_used']}, "
        f"alpha_fusion {answer['alpha_fusion']:.3f}"
    )
    lines = [head, f"  {'score':>7} {'individual':>10} {'group':>7}  {'':6} item"]
    columns = ("scores", "individual_logits", "group_logits", "item_ids")
    rows = zip(*(answer[name] for name in columns), example.bought, strict=True)
    for score, individual, group, item, bought in sorted(rows, reverse=True):
        mark = "bought" if bought else ""
        lines.append(f"  {score:7.4f} {individual:10.3f} {group:7.3f}  {mark:6} {names[item]}")
    if answer["degraded"]:
        lines.append(f"  degraded: {', '.join(answer['degraded'])}")
    return "\n".join(lines)


def _item_names(product: Product) -> Mapping[str, str]:
    items = product.tables().items()
    pairs = zip(items["item_id"].to_pylist(), items["text"].to_pylist(), strict=True)
    return {str(item): str(text or item) for item, text in pairs}


def _call(example: Example) -> Mapping[str, Any]:
    return {
        "user_id": example.user_id,
        "item_ids": list(example.item_ids),
        "request_time": example.request_time_s,
    }


def _write_load(path: Path, url: str, records: Records, product: Product) -> None:
    """What a load test needs to know, for loadtests/locustfile.py."""
    spec = product.load_samples(product.grouping).spec
    users = [
        {"user_id": r.user_id, "activity_level": spec.activity_level(r.window_purchases)}
        for r in records.users
    ]
    items = product.tables().items()["item_id"].to_pylist()[:LOAD_ITEMS]
    load = {"url": url, "users": users, "item_ids": items, "request_time": records.side.as_of_s}
    path.write_text(json.dumps(load))


def _print_next(root: Path, service: LocalService, example: Example) -> None:
    url = service.url
    print(
        f"""
What lies where
  {root}/artefacts    every stage's output, by content
  {root}/repository   the bundle: three graphs, tables, model_card.md, evaluation.html
  {root}/triton       the same model as a Triton repository
  {root}/service.log  what the service said
What to try next
  curl -s {url}/score -H 'content-type: application/json' -d '{json.dumps(_call(example))}'
  curl -s {service.admin_url}/metrics | grep choirrec_alpha_fusion
  .venv/bin/choirrec-serve status --admin {service.admin_url}
  .venv/bin/locust -f loadtests/locustfile.py --headless -u 10 -t 30s
  .venv/bin/choirrec-offline evaluate --help
"""
    )
