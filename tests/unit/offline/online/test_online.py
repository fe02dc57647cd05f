"""Online figures: what a log says, exactly where it can be told, honestly where it cannot."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.served_log import OUTCOMES, SERVED
from offline.__main__ import main
from offline.evaluation import gauc, user_aucs
from offline.online.ab import Experiment, Gain, experiments
from offline.online.arms import Figures, figures
from offline.online.joined import Joined
from offline.online.outcomes import Outcomes
from offline.online.reading import read_log
from offline.rules import ConfigError
from tests.fixtures.served_logs import HOUR_S, START_S, experiment, outcome, served, write_log

DAY_S = 24 * HOUR_S


def measured(joined: Joined, segment: str = "all users", role: str = "champion") -> Figures:
    """One arm in one segment."""
    (one,) = (f for f in figures(joined) if (f.role, f.segment) == (role, segment))
    return one


def value(joined: Joined, name: str, **fields: str) -> float:
    """One figure."""
    found = measured(joined, **fields).values[name]
    assert found is not None
    return found.value


def gain(compared: Experiment, metric: str, segment: str = "all users") -> Gain:
    """One cell of an A/B table."""
    (one,) = (g for g in compared.gains if (g.metric, g.segment) == (metric, segment))
    return one


def test_figures_are_those_of_the_joined_rows(tmp_path: Path) -> None:
    """Orders, value, converting users and conversion come out as one counts them by hand."""
    rows = [served("r1"), served("r2"), served("r3", "u2", activity_level=4, low_activity=False)]
    told = [
        *(outcome("r1", "a", "click"), outcome("r1", "a", value=4.0)),
        *(outcome("r1", "b", value=2.0), outcome("r2", "c", "click")),
        outcome("r3", "b", "click"),
    ]
    joined = read_log(write_log(tmp_path, rows, told), DAY_S, "clicked")
    one = measured(joined)
    assert (one.requests, one.users, one.orders, one.rows) == (3, 2, 2, 4)
    assert value(joined, "orders per user") == 1.0
    assert value(joined, "value per user") == 3.0
    assert value(joined, "converting users") == 0.5
    assert value(joined, "conversion") == 0.5  # an order implies its click
    assert value(joined, "pcoc") == pytest.approx((0.1 + 0.2 + 0.3 + 0.2) / 2)
    assert measured(joined, "low activity").users == 1
    assert measured(joined, "level 4").orders == 0
    assert measured(joined, "level 4").values["pcoc"] is None


def test_gauc_is_that_of_the_offline_evaluation(tmp_path: Path) -> None:
    """Online and offline figures can be laid beside each other: one definition."""
    random = np.random.default_rng(1)
    rows, told, flat = [], [], []
    for number in range(60):
        scores = random.random(5).astype(np.float32)
        items = [f"i{n}" for n in range(5)]
        user = number % 9
        rows.append(served(f"r{number}", f"u{user}", item_ids=items, scores=scores))
        for item, score in zip(items, scores, strict=True):
            label = random.random() < score
            flat.append((user, float(score), float(label)))
            told += [outcome(f"r{number}", item)] if label else []
    joined = read_log(write_log(tmp_path, rows, told), DAY_S, "scored")
    users, scores, labels = (np.array(column) for column in zip(*flat, strict=True))
    expected = gauc(user_aucs(scores, labels, users.astype(np.int64)))
    found = measured(joined).values["gauc"]
    assert found is not None
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.low < expected < found.high


def test_what_cannot_count_is_counted(tmp_path: Path) -> None:
    """Retries, mistaken ids, testers, late and impossible outcomes are left out, and told."""
    rows = [
        served("retry", scores=[0.9, 0.9, 0.9]),
        served("retry", served_s=START_S + 1),
        served("shared", "u1"),
        served("shared", "u2"),
        served("tester", propensity=None, role="canary"),
        served("young", served_s=START_S + 40 * HOUR_S),
    ]
    told = [
        *(outcome("retry", "a"), outcome("retry", "a", received_s=START_S + 2 * HOUR_S)),
        outcome("retry", "b", time_s=START_S - 2 * HOUR_S),
        outcome("retry", "c", time_s=START_S + 30 * HOUR_S),
        *(outcome("retry", "z"), outcome("nobody's"), outcome("shared"), outcome("young")),
    ]
    joined = read_log(write_log(tmp_path, rows, told), DAY_S, "clicked")
    assert {name: count for name, count in joined.counts.items() if count} == {
        "requests in the log": 6,
        "requests answered again under one id": 1,
        "requests whose id stands for several users": 2,
        "requests of testers": 1,
        "requests whose window is open": 1,
        "requests that count": 1,
        "outcomes told": 9,
        "outcomes told again": 1,
        "outcomes before their request": 1,
        "outcomes after the window": 1,
        "outcomes of items that were not candidates": 1,
        "outcomes of requests not in the log": 2,
    }
    assert measured(joined).orders == 1
    assert joined.labelled.score.tolist() == pytest.approx([0.1])  # of the last answer


TOLD = [outcome("r", item, kind) for item in "ab" for kind in ("click", "order")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations([*TOLD, *TOLD]), st.data())
def test_order_and_repetition_of_outcomes_do_not_matter(
    told: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Feedback may be sent again and come in any order; the same outcome counts once."""
    delays = data.draw(st.lists(st.integers(0, 99), min_size=len(told), max_size=len(told)))
    outcomes = Outcomes()
    for row, delay in zip(told, delays, strict=True):
        outcomes.add({**row, "value": float(delay), "received_s": float(delay)})
    found = outcomes.of("r", START_S, DAY_S)
    assert set(found) == {(row["item_id"], row["outcome"]) for row in TOLD}
    assert outcomes.counts["outcomes told again"] == len(TOLD)
    for key, one in found.items():
        same = [
            delay
            for row, delay in zip(told, delays, strict=True)
            if (row["item_id"], row["outcome"]) == key
        ]
        assert one.value == min(same)  # the first that was received stands


def test_planted_gain_is_found(tmp_path: Path) -> None:
    """A canary that sells more is seen to: the interval holds the truth and leaves out zero."""
    (compared,) = experiments(read_log(experiment(tmp_path, 6000, gain=0.4), DAY_S, "clicked"))
    assert (compared.versions, compared.shares) == ({"champion": (1,), "canary": (2,)}, (0.5,))
    for metric in ("Orders", "GMV", "Converting users", "Conversion"):
        for segment in ("all users", "low activity", "high activity"):
            lift = gain(compared, metric, segment).lift
            assert lift is not None
            assert lift.low < 0.4 < lift.high
            assert lift.low > 0
    assert gain(compared, "Orders", "level 3").lift is None


def test_no_gain_is_not_found(tmp_path: Path) -> None:
    """Two equal models differ by chance alone: of 20 such tables at most a few say otherwise."""
    holds = 0
    for seed in range(20):
        log = experiment(tmp_path / str(seed), 300, gain=0.0, seed=seed)
        (compared,) = experiments(read_log(log, DAY_S, "clicked"))
        lift = gain(compared, "Orders").lift
        assert lift is not None
        holds += lift.contains_zero
    assert holds >= 16  # one in 10,000 fails where the intervals are of 95 per cent


def test_share_that_grew_does_not_bend_the_comparison(tmp_path: Path) -> None:
    """A canary given more users on a better day is not credited with the day."""
    folder = experiment(tmp_path, 6000, gain=0.0, shares=(0.1, 0.5), rates=(0.1, 0.5), seed=3)
    joined = read_log(folder, DAY_S, "clicked")
    requests = joined.requests
    rates = {r: requests.orders[requests.role == r].mean() for r in ("champion", "canary")}
    assert rates["canary"] / rates["champion"] > 1.3  # the plain comparison is far off
    (compared,) = experiments(joined)
    assert compared.shares == (0.1, 0.5)
    for metric in ("Orders", "Conversion", "Converting users"):
        lift = gain(compared, metric).lift
        assert lift is not None
        assert lift.contains_zero
        assert abs(lift.value) < 0.12


def test_user_keeps_the_segment_of_the_first_request(tmp_path: Path) -> None:
    """A model that makes users active does not push its own gains into another column."""
    arm = {"experiment": "s", "share": 0.5, "propensity": 0.5}
    rows = [
        served("r1", "u1", **arm),
        served("r2", "u1", **arm, served_s=START_S + 9, activity_level=5, low_activity=False),
        served("r3", "u2", **arm, role="canary", version=2),
        served(
            "r4", "u2", **arm, role="canary", version=2, served_s=START_S + 9, low_activity=None
        ),
    ]
    told = [outcome("r2"), outcome("r4")]
    (compared,) = experiments(read_log(write_log(tmp_path, rows, told), DAY_S, "clicked"))
    assert gain(compared, "Orders", "low activity").means == (1.0, 1.0)
    assert gain(compared, "Orders", "high activity").users == (0, 0)


def test_window_that_is_open_everywhere_is_said(tmp_path: Path) -> None:
    """A log that is too young gives no figure that would change tomorrow, but says what to do."""
    folder = write_log(tmp_path, [served("r1")], [outcome("r1")])
    with pytest.raises(ConfigError, match=r"younger than the window of 72 hours.*--within-hours"):
        read_log(folder, 72 * HOUR_S, "clicked")


def test_command_tells_people_and_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the table, and leaves both forms in a folder."""
    log = experiment(tmp_path / "log", 400, gain=0.5)
    assert main(["online", "--log", str(log), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "| metric | low activity | high activity | all users |" in told
    assert "## A/B: version 2 against version 1" in told
    assert (tmp_path / "out/online.md").read_text() == told
    document = json.loads((tmp_path / "out/online.json").read_text())
    assert document["counts"]["requests that count"] == 400
    assert {arm["role"] for arm in document["arms"]} == {"champion", "canary"}


def test_command_refuses_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong folder or a damaged file is named, with exit code 2."""
    assert main(["online", "--log", str(tmp_path)]) == 2
    assert "holds no file of a served log" in capsys.readouterr().err
    (tmp_path / SERVED).mkdir()
    (tmp_path / SERVED / "a.parquet").write_bytes(b"junk")
    assert main(["online", "--log", str(tmp_path)]) == 2
    assert "a.parquet is not a file of served" in capsys.readouterr().err


def test_file_that_cannot_be_read_stops_no_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged file is named and counted in the head; the requests of all others count."""
    log = experiment(tmp_path / "log", 400, gain=0.5)
    for kind in (SERVED, OUTCOMES):
        (log / kind / "damaged.parquet").write_bytes(b"junk")
    assert main(["online", "--log", str(log)]) == 0
    told, warnings = capsys.readouterr()
    assert "- requests that count: 400\n" in told
    assert "- files of requests that cannot be read: 1\n" in told
    assert "- files of outcomes that cannot be read, so that figures are too low: 1\n" in told
    assert warnings.count("damaged.parquet is not a file of") == 2
