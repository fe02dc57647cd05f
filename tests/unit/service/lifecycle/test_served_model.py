"""Leases of a served model."""

import asyncio
from pathlib import Path

import pytest

from model.bundle import open_bundle
from service.features.priors import Priors
from service.features.reader import RecordReader
from service.features.redis_store import RedisStore
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.private_store import PrivateCopy
from service.lifecycle.served_model import LoadedBundle, ServedModel
from service.lifecycle.tally import Tally
from service.metrics import Metrics
from service.newcomers import Newcomers, TextEncoders
from service.scorer import Scorer


@pytest.fixture
def served(home: Path) -> ServedModel:
    """A model without a generation."""
    copy = PrivateCopy(home / "repository" / "1", fresh=False)
    bundle = open_bundle(copy.folder)
    backend = OnnxRuntimeBackend(1)
    scorer = Scorer(bundle, backend.load(bundle.graphs), 125)
    loaded = LoadedBundle(bundle, scorer, Newcomers(bundle, TextEncoders()), "CPU", copy)
    metrics = Metrics()
    store = RedisStore("redis://127.0.0.1:1/0", metrics.round_trips)
    priors = Priors(bundle, None, 1)
    reader = RecordReader(store, bundle.spec, None, priors, metrics, budget_s=1.0)
    return ServedModel(loaded, None, reader, Tally(bundle.reference))


def test_drains_with_its_last_lease(served: ServedModel) -> None:
    """A retired model lives until the last request that holds it has ended."""

    async def scenario() -> None:
        with served:
            with served:
                served.retire()
                assert not served.drained.is_set()
            assert not served.drained.is_set()
        assert served.drained.is_set()

    asyncio.run(scenario())


def test_retired_model_takes_no_request(served: ServedModel) -> None:
    """Nobody begins with a model that is about to go."""
    served.retire()
    assert served.drained.is_set()
    with pytest.raises(RuntimeError, match="retired"), served:
        pass


def test_failed_request_gives_its_lease_back(served: ServedModel) -> None:
    """Errors leak no model."""
    with pytest.raises(ZeroDivisionError), served:
        raise ZeroDivisionError
    assert served.leases == 0
