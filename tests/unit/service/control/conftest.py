"""What tests of orders share: two replicas that agree within moments, or give up soon."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.control import agreement
from tests.fixtures.operators import World, operators_in


@pytest.fixture
async def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Two replicas under version 1, generation g1."""
    monkeypatch.setattr(agreement, "FOLLOW_S", 5.0)
    monkeypatch.setattr(agreement, "COMPARE_S", 0.2)
    async with operators_in(tmp_path) as replicas:
        yield replicas
