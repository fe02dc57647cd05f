"""The tables of the documentation are those of the code."""

from pathlib import Path

import pytest

from service.comparison.metrics import comparison_metrics_table
from service.errors import problem_table
from service.metrics import metrics_table
from service.settings import settings_table
from service.supervisor.replica_metrics import replica_metrics_table

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("service.md", settings_table()),
        ("service.md", problem_table()),
        ("metrics.md", metrics_table()),
        ("metrics.md", replica_metrics_table()),
        ("metrics.md", comparison_metrics_table()),
    ],
    ids=["settings", "problems", "metrics", "replica metrics", "comparison metrics"],
)
def test_page_holds_the_table_of_the_code(page: str, table: str) -> None:
    """What the documentation lists is what the service has; paste the code's table to mend it."""
    assert table in (DOCS / page).read_text(encoding="utf-8"), f"docs/{page} should hold:\n{table}"
