"""The scorer against plain numpy, for any split and order of candidates."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bundle import Bundle, open_bundle
from model.spec import item_key
from service.features.priors import Priors
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.scorer import Moment, NonFinite, Scorer, Scores
from tests.fixtures.bundles import AS_OF_S, ITEMS, NEW_ITEMS, USERS, World

MOMENT = Moment(AS_OF_S + 1000, 7, 3)
ids = st.lists(st.sampled_from([*ITEMS, *NEW_ITEMS, "unseen", "17"]), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    """Version 1, opened."""
    return open_bundle(home / "repository" / "1")


def _score(bundle: Bundle, world: World, user_id: str, item_ids: list[str], chunk: int) -> Scores:
    scorer = Scorer(bundle, OnnxRuntimeBackend(1).load(bundle.graphs), chunk)
    prior = Priors(bundle, None, 4).snapshot(())
    candidates = scorer.candidates(scorer.resolve(item_ids), world.new_items)
    side = scorer.user_side(world.users[user_id], MOMENT)
    return scorer.score(*side, prior.inputs, candidates.tokens)


@settings(deadline=None, max_examples=40)
@given(ids, st.sampled_from(USERS), st.integers(1, 30))
def test_any_split_and_order_equals_the_reference(
    bundle: Bundle, world: World, item_ids: list[str], user_id: str, chunk: int
) -> None:
    """Neither chunks nor neighbours nor duplicates change a candidate's logits."""
    user = world.users[user_id]
    expected = world.expected(
        user, world.groups[()], MOMENT.time_s, MOMENT.hour, MOMENT.weekday, item_ids
    )
    scores = _score(bundle, world, user_id, item_ids, chunk)
    for found, wanted in zip(
        (scores.individual_logits, scores.group_logits), expected[:2], strict=True
    ):
        assert np.all(np.abs(found - wanted) <= 1e-5 * np.maximum(1, np.abs(wanted)))
    assert abs(scores.alpha_fusion - expected[2]) < 1e-6


def test_statuses_tell_known_new_and_unknown_items_apart(bundle: Bundle, world: World) -> None:
    """A caller learns which candidates the model knows, in the order asked."""
    scorer = Scorer(bundle, OnnxRuntimeBackend(1).load(bundle.graphs), 125)
    resolved = scorer.resolve(["new-1", ITEMS[0], "unseen", "new-1", ITEMS[0]])
    assert resolved.outside == ("new-1", "unseen")
    statuses = scorer.candidates(resolved, world.new_items).statuses
    assert statuses == ["new", "known", "unknown", "new", "known"]


def test_items_stay_known_when_the_memory_of_their_rows_is_full(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was remembered for one request is not lost within another."""
    monkeypatch.setattr("service.scorer._REMEMBERED_ITEMS", 3)
    scorer = Scorer(bundle, OnnxRuntimeBackend(1).load(bundle.graphs), 125)
    scorer.resolve(ITEMS[:3])
    for item_ids in (ITEMS[2:5], ITEMS[:5]):
        resolved = scorer.resolve(item_ids)
        keys = np.array([item_key(item_id) for item_id in item_ids], np.uint64)
        assert resolved.rows.tolist() == bundle.catalogue.rows(keys).tolist()
        assert resolved.outside == ()


def test_non_finite_scores_are_an_error(bundle: Bundle, world: World) -> None:
    """NaN never leaves the scorer."""
    scorer = Scorer(bundle, OnnxRuntimeBackend(1).load(bundle.graphs), 125)
    inputs, activity = scorer.user_side(world.users["user-5"], MOMENT)
    broken = {**inputs, "user": np.full_like(inputs["user"], np.nan)}
    prior = Priors(bundle, None, 4).snapshot(())
    tokens = scorer.candidates(scorer.resolve([ITEMS[0]]), {}).tokens
    with pytest.raises(NonFinite):
        scorer.score(broken, activity, prior.inputs, tokens)
