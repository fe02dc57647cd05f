"""Prometheus and Grafana files: every name in them is one that the service has."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.comparison.counts import ComparisonReport, ComparisonTally
from service.comparison.metrics import comparison_exposition
from service.metrics import ROUTES, Metrics, ModelName
from service.settings import Settings
from service.supervisor.exposition import MergedExposition
from service.supervisor.replica_metrics import REPLICA_GAUGES, ReplicaMetrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SCRAPING: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for path in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/choirrec.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {f"rule {rule.get('alert') or rule['record']}": rule["expr"] for rule in RULES} | {
    f"panel {panel['title']}, {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself adds."""

Series = Mapping[str, list[dict[str, str]]]

# A series name, and the label matchers after it when there are any.
SELECTOR = re.compile(r"\b(up\b|(?:[a-z_]+:)?choirrec_[a-z0-9_]+(?::[a-z0-9_]+)?)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def _grouping(expression: str) -> set[str]:
    lists = [part.split(",") for part in GROUPING.findall(expression)]
    return {label.strip() for labels in lists for label in labels if label.strip()}


def _exposed() -> Series:
    """Labels of every series that a service with a model and some calls exposes, by series name."""
    metrics = Metrics()
    metrics.name_models([ModelName("champion", "1", "generation", "digest", "provider")])
    metrics.count_targets(["active"])
    for route in ROUTES:
        metrics.requests(route, 200).inc()
    merged = MergedExposition()
    merged.add(ReplicaMetrics().exposition(dict.fromkeys(REPLICA_GAUGES, 1)))
    merged.add(metrics.exposition().decode(), "0")
    levels = ComparisonTally().levels
    compared = ComparisonReport(champion="1/g", challenger="2/g", since_s=0.0, levels=levels)
    merged.add(comparison_exposition(compared), "shadow")
    series: dict[str, list[dict[str, str]]] = {"up": [{}]}
    for family in text_string_to_metric_families(merged.text().decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(dict(sample.labels))
    for name, expression in RECORDED.items():
        labels = dict.fromkeys(_grouping(expression), ".*") | {"job": "choirrec"}
        series[name] = [labels]
    return series


EXPOSED = _exposed()


def _selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    for name, matchers in SELECTOR.findall(expression):
        yield name, MATCHER.findall(matchers)


def _selects_something(name: str, label: str, operator: str, value: str) -> bool:
    """Whether a matcher can hold: free labels take any value, bounded ones only their own."""
    if label in SCRAPED or label == "code" or operator in ("!=", "!~"):
        return True
    present = {labels[label] for labels in EXPOSED[name]}
    if present == {".*"}:
        return True
    wanted = value.split("|") if operator == "=~" else [value]
    return set(wanted) <= present


def _anchors(document: Path) -> set[str]:
    titles = re.findall(r"(?m)^#+ (.+)$", document.read_text())
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def _mounted(service: str, source: str) -> str:
    """Where a container of the compose file sees a path of the project."""
    for volume in COMPOSE["services"][service]["volumes"]:
        parts = volume.split(":")
        if source == parts[0] or source.startswith(f"{parts[0]}/"):
            return str(parts[1]) + source.removeprefix(parts[0])
    raise AssertionError(f"{service} does not mount {source}")


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_every_query_names_series_and_labels_that_exist(place: str) -> None:
    """No alert stays quiet and no panel stays empty because of a misspelt or removed metric."""
    expression = EXPRESSIONS[place]
    selectors = list(_selectors(expression))
    assert selectors, "the query names no series at all"
    known: set[str] = set(SCRAPED)
    for name, matchers in selectors:
        assert name in EXPOSED, f"{name} is neither exposed nor recorded"
        labels = set().union(*EXPOSED[name]) | SCRAPED
        known |= labels
        for label, operator, value in matchers:
            assert label in labels, f"{name} has no label {label}"
            assert _selects_something(name, label, operator, value), f'{label}{operator}"{value}"'
    assert _grouping(expression) <= known


def test_a_misspelt_name_would_be_noticed() -> None:
    """The check above tells a metric from one that is not there, and a suffix from another."""
    assert "choirrec_request_duration_seconds_bucket" in EXPOSED
    assert "choirrec_request_duration_seconds_total" not in EXPOSED
    assert not _selects_something("choirrec_degraded_total", "reason", "=", "redis_timed_out")
    assert list(_selectors('a:choirrec_b:c{x="1"} / up')) == [
        ("a:choirrec_b:c", [("x", "=", "1")]),
        ("up", []),
    ]


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_every_query_is_balanced(place: str) -> None:
    """No query was cut short by an edit."""
    bare = re.sub(r'"[^"]*"', "", EXPRESSIONS[place])
    assert all(bare.count(a) == bare.count(b) for a, b in ("()", "[]", "{}"))


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_counters_are_read_as_rates(place: str) -> None:
    """No query shows a sum since the start, which a restart sets back."""
    bare = re.sub(r"\b(?:rate|increase)\([^()]*\)", "", EXPRESSIONS[place])
    counters = re.findall(r"\bchoirrec_\w+_(?:total|bucket|sum|count)\b", bare)
    assert [name for name in counters if name in EXPOSED] == []


def test_there_is_an_alert_for_every_way_to_fail() -> None:
    """Whatever fails, ends, lags, degrades, ages or inverts is told."""
    wanted = "Down NotReady Errors Slow WithoutRedis WithoutGeneration CorruptRecords StaleRecords"
    wanted += " LoadRefused AlphaInverted WorkersEnding NotFollowing StateTrouble LogLosesRows"
    wanted += " CanaryRolledBack ComparisonNotReady"
    assert set(ALERTS) == {f"Choirrec{name}" for name in wanted.split()}


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_to_do(name: str) -> None:
    """Whoever is woken reads what happened, what it means and where the way out is written."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"]["summary"].strip()
    assert alert["annotations"]["description"].strip()
    document, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor in _anchors(ROOT / document)


def test_runbook_speaks_of_nothing_else() -> None:
    """No section is left over from an alert that is gone, and no panel or setting is invented."""
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"(?m)^## (.+)$", text)) == {"Operating", *ALERTS}
    titles = {panel["title"] for panel in PANELS} | {DASHBOARD["title"]}
    named = {re.split(r",", name)[0] for name in re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text)}
    assert named <= {title.split(",")[0] for title in titles}
    settings = {f"CHOIRREC_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"CHOIRREC_\w+", text)) <= settings


def test_prometheus_scrapes_the_port_that_the_service_opens() -> None:
    """`docker compose up` gives figures without another step."""
    jobs = {job["job_name"]: job["static_configs"] for job in SCRAPING["scrape_configs"]}
    (target,) = [target for config in jobs["choirrec"] for target in config["targets"]]
    host, port = target.split(":")
    ports = [text.rpartition(":")[2] for text in COMPOSE["services"][host]["ports"]]
    assert port in ports
    assert int(port) == Settings.model_fields["admin_port"].default
    # Only an address beyond loopback can be reached from another container.
    assert COMPOSE["services"][host]["environment"]["CHOIRREC_ADMIN_HOST"] == "0.0.0.0"  # noqa: S104


def test_rules_lie_where_prometheus_looks() -> None:
    """The rules that were tested are the rules that run."""
    (pattern,) = SCRAPING["rule_files"]
    rules = _mounted("prometheus", "./deploy/prometheus/rules/choirrec.yml")
    assert rules == pattern.replace("*", "choirrec")
    config = _mounted("prometheus", "./deploy/prometheus/prometheus.yml")
    assert config == "/etc/prometheus/prometheus.yml"


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    """The dashboard is there at the first visit and asks the Prometheus of the compose file."""
    provisioning = DEPLOY / "grafana" / "provisioning"
    assert _mounted("grafana", "./deploy/grafana/provisioning") == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    host, port = source["url"].removeprefix("http://").split(":")
    assert port in [text.rpartition(":")[2] for text in COMPOSE["services"][host]["ports"]]
    assert source["jsonData"]["timeInterval"] == SCRAPING["global"]["scrape_interval"]
    asked = [p["datasource"] for p in PANELS]
    asked += [target["datasource"] for p in PANELS for target in p["targets"]]
    assert {used["uid"] for used in asked} == {source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards/choirrec.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] == _mounted("grafana", "./deploy/grafana/dashboards")


def test_panels_have_names_and_places_of_their_own() -> None:
    """No panel hides another, and each says what it shows."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    assert all(panel["description"] for panel in PANELS)
    cells: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in DASHBOARD["panels"]):
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & cells
        cells |= own


def test_every_metric_is_on_the_dashboard() -> None:
    """A metric that nobody can look at is not worth its cost."""
    shown = " ".join(EXPRESSIONS.values())
    metrics = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in EXPOSED}
    assert [m for m in sorted(metrics) if m.startswith("choirrec_") and m not in shown] == []
