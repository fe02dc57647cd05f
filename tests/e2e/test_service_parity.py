"""The trained network, its exported graphs and the live service say the same."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from model.bundle import Manifest
from model.generation import Generation
from model.golden import GoldenRequest
from offline.export import Ingredients, answer, export_bundle
from offline.publish import publish
from offline.redis_client import RedisClient
from tests.fixtures.redis import RedisServer
from tests.fixtures.services import LiveService, live_service, settings_for
from tests.ingredients import ITEM_IDS, groups, ingredients, users
from tests.records import WRITTEN_AT_S, item_record

ROWS = 10_000
CANDIDATES = 400
TOLERANCE = 1e-5
TIME_S = WRITTEN_AT_S + 3 * 86_400


@dataclass(frozen=True, eq=False)
class Trained:
    """A network, and the service that serves what was exported and published of it."""

    ingredients: Ingredients
    service: LiveService


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Trained]:
    """Exported and published as the pipeline does it, then served."""
    folder, made = tmp_path_factory.mktemp("trained"), ingredients()
    (folder / "repository").mkdir()
    manifest = export_bundle(made, 1, folder / "repository" / "1")
    published = publish(
        RedisClient(redis_server.url),
        _generation(manifest),
        users(),
        groups().values(),
        [item_record("new-1")],
    )
    assert published.generation.complete
    with live_service(settings_for(folder, redis_server.url)) as service:
        yield Trained(made, service)


def _generation(manifest: Manifest) -> Generation:
    return Generation(
        name="published",
        feature_contract=manifest.feature_contract,
        as_of_s=WRITTEN_AT_S,
        written_at_s=WRITTEN_AT_S,
        users=len(users()),
        groups=len(groups()),
        items=1,
        id_chunks=0,
        complete=False,
    )


def test_service_answers_as_the_trained_network(trained: Trained) -> None:
    """Ten thousand rows of published records, in any order and split, are within the tolerance."""
    rng = np.random.default_rng(0)
    made, known, priors = trained.ingredients, users(), groups()
    worst, rows = 0.0, 0
    while rows < ROWS:
        user = known[rng.integers(len(known))] if rng.random() < 0.9 else None
        hour, weekday = int(rng.integers(24)), int(rng.integers(7))
        item_ids = tuple(rng.choice([*ITEM_IDS, "unseen"], CANDIDATES).tolist())
        group = priors[user.prefix if user else ()]
        request = GoldenRequest(user, group, WRITTEN_AT_S, TIME_S, hour, weekday, item_ids)
        wanted = answer(made.model, made.spec, made.catalogue, request)
        found = trained.service.score(
            user.user_id if user else "nobody",
            item_ids,
            request_time=TIME_S,
            context={"hour": hour, "weekday": weekday},
        )
        columns = [
            (found["individual_logits"], wanted.individual_logits),
            (found["group_logits"], wanted.group_logits),
            ([found["alpha_fusion"]], [wanted.alpha_fusion]),
        ]
        worst = max(worst, *(_difference(*column) for column in columns))
        rows += len(item_ids)
    assert worst <= TOLERANCE


def test_new_item_is_scored_by_its_own_record(trained: Trained) -> None:
    """An item published after the export is not an unknown one."""
    scored = trained.service.score("u1", ["new-1", "unseen"])
    assert scored["item_status"] == ["new", "unknown"]
    assert scored["scores"][0] != scored["scores"][1]


def _difference(found: list[float], wanted: object) -> float:
    expected = np.array(wanted)
    return float(np.max(np.abs(np.array(found) - expected) / np.maximum(1, np.abs(expected))))
