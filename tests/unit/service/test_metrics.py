"""Metrics: bounded labels and histograms that add up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics, ModelName, metrics_table

values = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(0, 1, width=32))


@given(values)
def test_column_counts_as_its_values_do(column: np.ndarray) -> None:
    """A histogram fed by columns says what one fed value by value says."""
    together, apart = Metrics(), Metrics()
    together.score.observe_all(column)
    for value in column.tolist():
        apart.score.observe(value)
    buckets = [[s.value for s in _samples(m, "choirrec_score")] for m in (together, apart)]
    np.testing.assert_allclose(buckets[0], buckets[1], rtol=1e-6)


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    """Prometheus can take quantiles of them."""
    metrics = Metrics()
    metrics.score.observe_all(np.array([0.0, 0.05, 0.3, 1.0], np.float32))
    samples = _samples(metrics, "choirrec_score")
    buckets = [s.value for s in samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 4


def test_series_stay_few_whatever_happens() -> None:
    """Labels are bounded: a busy day does not fill Prometheus."""
    metrics = Metrics()
    for version in range(50):
        named = ModelName("champion", str(version), f"g{version}", "0" * 12, "CPU")
        metrics.name_models([named])
    lines = [line for line in metrics.exposition().decode().splitlines() if line[0] != "#"]
    assert len(lines) < 400
    assert sum(line.startswith("choirrec_model_info") for line in lines) == 1


def test_every_metric_bears_the_prefix_and_a_help_text() -> None:
    """An operator finds all of them by one prefix, each explained, and none is left out."""
    families = list(text_string_to_metric_families(Metrics().exposition().decode()))
    assert len(families) == metrics_table().count("| `choirrec_")
    for family in families:
        assert family.name.startswith("choirrec_")
        assert family.documentation


def _samples(metrics: Metrics, family: str) -> list:  # type: ignore[type-arg]
    text = metrics.exposition().decode()
    return [s for f in text_string_to_metric_families(text) if f.name == family for s in f.samples]
