"""From an answered request to a figure: two workers, their log, its outcomes, and a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from model.served_log import OUTCOMES, SERVED
from service.feedback.opening import logged_rows
from tests.fixtures.bundles import ITEMS, USERS, World, make_world, publish, write_bundle
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import Client, service_process, wait_until

REQUESTS = 60
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path, redis_server: RedisServer, world: World) -> Mapping[str, str]:
    """Two workers that log everything; versions 1 and 2 in the repository."""
    for version in (1, 2):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
    publish(world, redis_server.client(), "g1")
    return {
        "CHOIRREC_REPOSITORY": str(tmp_path / "repository"),
        "CHOIRREC_STORE": str(tmp_path / "store"),
        "CHOIRREC_REDIS_URL": redis_server.url,
        "CHOIRREC_FETCH_BUDGET_MS": "1000",
        "CHOIRREC_MODEL_VERSION": "1",
        "CHOIRREC_WORKERS": "2",
        "CHOIRREC_DRAIN_S": "0",
        "CHOIRREC_LOG": str(tmp_path / "log"),
        "CHOIRREC_LOG_SAMPLE": "1",
    }


def call(client: Client, name: str) -> list[dict[str, Any]]:
    """Every user asks for scores and buys what came first; each call on a connection of its own."""
    answers = []
    for number in range(REQUESTS):
        body = {"user_id": USERS[number % len(USERS)], "item_ids": ITEMS[:5]}
        request_id = f"{name}-{number}"
        reply = httpx.post(f"{client.scoring_url}/score", json=body | {"request_id": request_id})
        answers.append(dict(reply.raise_for_status().json()))
        kinds = ("click", "order") if number % 3 else ("click",)
        told = [
            {
                "request_id": request_id,
                "item_id": ITEMS[0],
                "outcome": kind,
                "time": time.time() - 1,  # by a clock that goes wrong a little
            }
            for kind in kinds
        ]
        taken = httpx.post(f"{client.scoring_url}/feedback", json={"outcomes": told})
        assert taken.json() == {"accepted": len(kinds), "not_sampled": 0}
    return answers


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One of the project's commands."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_every_answer_of_every_worker_becomes_a_figure(environment: Mapping[str, str]) -> None:
    """Whoever answered and whoever was told: after SIGTERM the log holds all, and joins it."""
    log = Path(environment["CHOIRREC_LOG"])
    with service_process(environment) as (client, process):
        answers = call(client, "plain")
        order = {"version": 2, "who": "a test", "why": "to see", "share": 0.5}
        canary = httpx.post(f"{client.admin_url}/admin/canary", json=order, timeout=120)
        assert canary.status_code == 200, canary.text
        answers += call(client, "canary")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    for answer in answers:
        (row,) = logged_rows(log, SERVED, answer["request_id"])
        assert row["version"] == answer["model_version"]
        assert row["role"] == ("champion" if row["version"] == 1 else "canary")
        assert row["propensity"] == (1.0 if row["experiment"] is None else 0.5)
    assert len(list((log / SERVED).glob("*.parquet"))) == 2  # one per worker
    assert list(log.glob("*/.*")) == []
    told = run("offline", "online", "--log", str(log), "--within-hours", "1e-6", "--json")
    assert told.returncode == 0, told.stderr
    arms = {(arm["role"], arm["segment"]): arm for arm in json.loads(told.stdout)["arms"]}
    orders = [arms[role, "all users"]["orders"] for role in ("champion", "canary")]
    assert min(orders) > 0
    assert 0 <= sum(1 for n in range(2 * REQUESTS) if n % REQUESTS % 3) - sum(orders) <= 2
    again = run("service.cli", "replay", "canary-7", "--json", **environment)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["again"]["verdict"] == "equal"


def test_killed_worker_leaves_whole_files(environment: Mapping[str, str]) -> None:
    """A kill costs the rows of unfinished files at most; every file can be read."""
    log = Path(environment["CHOIRREC_LOG"])
    quick = {**environment, "CHOIRREC_LOG_ROTATE_S": "0.05"}
    with service_process(quick) as (client, process):
        call(client, "before")
        for worker in client.workers():
            os.kill(worker["pid"], signal.SIGKILL)
        wait_until(lambda: all(w["ready"] for w in client.workers()) and _answers(client))
        answers = call(client, "after")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    files = sorted(log.glob("*/*.parquet"))
    assert sum(pq.read_table(path).num_rows for path in files) > 0
    for answer in answers:
        assert len(logged_rows(log, SERVED, answer["request_id"])) == 1
        assert logged_rows(log, OUTCOMES, answer["request_id"])


def _answers(client: Client) -> bool:
    try:
        return httpx.get(f"{client.scoring_url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False
