"""The committed bands: simulated worlds look as the paper says its data does."""

from pathlib import Path

import pytest

from offline.datasets.simulated.bands import measure
from offline.datasets.simulator import build


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_committed_band_holds(world: int, tmp_path: Path) -> None:
    """Skew, sparsity, conversion, ceilings and readability of the design worlds are in bounds."""
    figures = measure(build(tmp_path, world, users=30_000))
    assert figures.outside() == {}
