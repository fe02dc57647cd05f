"""Several processes' metrics as one exposition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.supervisor.exposition import MergedExposition


def _exposed(routes: dict[str, int]) -> str:
    registry = CollectorRegistry()
    requests = Counter("choirrec_requests", "Requests.", ["route"], registry=registry)
    seconds = Histogram("choirrec_seconds", "Time.", registry=registry, buckets=(0.1, 1))
    for route, count in routes.items():
        requests.labels(route).inc(count)
        seconds.observe(count)
    return generate_latest(registry).decode()


def _merged(*texts: str) -> str:
    merged = MergedExposition()
    for number, text in enumerate(texts):
        merged.add(text, str(number))
    return merged.text().decode()


names = st.dictionaries(st.text(max_size=6), st.integers(0, 9), max_size=4)


@given(st.lists(names, max_size=4))
def test_sums_over_workers_are_what_each_of_them_says(workers: list[dict[str, int]]) -> None:
    """Whatever labels hold, every series is there once, with its value, under its worker."""
    texts = [_exposed(routes) for routes in workers]
    families = {f.name: f for f in text_string_to_metric_families(_merged(*texts))}
    found = {
        (sample.labels["worker"], sample.labels["route"]): sample.value
        for sample in (families["choirrec_requests"].samples if workers else ())
        if sample.name.endswith("_total")
    }
    assert found == {
        (str(number), route): count
        for number, routes in enumerate(workers)
        for route, count in routes.items()
    }
    counts = [s for f in families.values() for s in f.samples if s.name == "choirrec_seconds_count"]
    assert [s.value for s in counts] == [len(routes) for routes in workers]


def test_help_and_type_stand_once_and_families_in_one_piece() -> None:
    """Prometheus takes the text, which it would not with a family in two places."""
    lines = _merged(_exposed({"a": 1}), _exposed({"b": 2})).split("\n")[:-1]
    assert len(lines) == len(set(lines))
    assert sum(line.startswith("# TYPE choirrec_requests_total") for line in lines) == 1
    families = [line.split("{")[0].split("_")[1] for line in lines if not line.startswith("#")]
    assert families == sorted(families)


def test_series_without_labels_gets_one() -> None:
    """A gauge without labels differs by worker alone."""
    assert _merged("# TYPE a gauge\na 1\n", "# TYPE a gauge\na 2.5e-07\n").splitlines() == [
        "# TYPE a gauge",
        'a{worker="0"} 1',
        'a{worker="1"} 2.5e-07',
    ]


@pytest.mark.parametrize("text", ["", "\n", "# EOF\n", "# a word\n"])
def test_what_is_no_series_is_left_out(text: str) -> None:
    """Empty lines and comments of other kinds end there."""
    assert _merged(text, "a 1\n") == 'a{worker="1"} 1\n'
