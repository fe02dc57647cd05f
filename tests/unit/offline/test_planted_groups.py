"""Planted groups: where the group truly decides, ChoirRec finds it; where it does not, not."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.assembly import Catalogue, GroupArrays, UserArrays
from model.baselines.din import Din
from model.losses import LossConfig
from model.network.batch import UNKNOWN_ACTIVITY, Split
from model.network.choirrec import ChoirRec
from model.network.contract import ConversionModel
from model.network.prediction import predict
from model.network.tables import Lookups
from model.spec import FIRST_CODE, FeatureSpec
from offline.evaluation import Metrics, evaluate
from offline.training import TrainConfig, train
from tests.synthetic import TINY, feature_spec, named

USERS, SPARSE, ITEMS, GROUPS, STEPS = 600, 360, 80, 8, 6
BUSY_ACTIVITY = (2.0, 2.0, 1.0, 0.0, 0.0)
CONFIG = TrainConfig(
    epochs=4, batch_rows=128, rate_start=0.03, rate_end=0.01, warmup_steps=20, threads=1
)

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Planted:
    """A world in which a user's group decides which leaf the user buys."""

    spec: FeatureSpec
    lookups: Lookups
    train: Split
    test: Split

    def permuted(self) -> "Planted":
        """The same world with groups permuted among sparse users and among busy ones."""
        rng = np.random.default_rng(7)
        index = self.train.group_index.copy()
        for part in (np.arange(SPARSE), np.arange(SPARSE, USERS)):
            index[part] = index[rng.permutation(part)]
        return replace(
            self,
            train=replace(self.train, group_index=index),
            test=replace(self.test, group_index=index),
        )


def planted() -> Planted:
    """Sparse users have no history and no attribute: only their group tells what they like."""
    rng = np.random.default_rng(1)
    spec = replace(
        feature_spec(STEPS, STEPS, USERS + FIRST_CODE), categories=(named("leaf", GROUPS),), side=()
    )
    leaf = rng.integers(0, GROUPS, ITEMS)
    group = rng.integers(0, GROUPS, USERS)
    history = np.stack([_liked(rng, leaf, favourite) for favourite in group])
    history[:SPARSE] = 0
    users = _users(history)
    groups = _groups(np.stack([_liked(rng, leaf, favourite) for favourite in range(GROUPS)]))
    splits = [_split(rng, users, groups, group, leaf, rows) for rows in (16_000, 12_000)]
    codes = (leaf + FIRST_CODE)[:, None].astype(np.int32)
    catalogue = Catalogue(np.arange(ITEMS, dtype=np.uint64), codes)
    rows = splits[0]
    lookups = Lookups.count(spec, catalogue, rows.row_user + FIRST_CODE, rows.row_item)
    return Planted(spec, lookups, *splits)


def _liked(rng: np.random.Generator, leaf: Ints, favourite: int) -> Ints:
    """Six catalogue rows, four fifths of them of the favourite leaf."""
    liked = rng.choice(np.flatnonzero(leaf == favourite), STEPS)
    return FIRST_CODE + np.where(rng.random(STEPS) < 0.8, liked, rng.integers(0, ITEMS, STEPS))


def _users(history: Ints) -> UserArrays:
    busy = history[:, :1] > 0
    return UserArrays(
        user_row=np.arange(USERS) + FIRST_CODE,
        attributes=np.zeros((USERS, 2), np.int64),
        continuous=np.tile(np.array([0, 1], np.float32), (USERS, 1)),
        context=np.full((USERS, 2), FIRST_CODE),
        history_items=history,
        history_ages=np.where(history > 0, 3, 0),
        activity=np.where(busy, BUSY_ACTIVITY, UNKNOWN_ACTIVITY).astype(np.float32),
        purchases=np.where(busy[:, 0], STEPS, 0),
    )


def _groups(sequences: Ints) -> GroupArrays:
    number = np.arange(GROUPS)
    return GroupArrays(
        codes=np.stack([number // 4, number % 4, np.full(GROUPS, 4)], axis=1),
        attributes=np.zeros((GROUPS, 2), np.int64),
        continuous=np.tile(np.array([0, 1], np.float32), (GROUPS, 1)),
        items=sequences,
        ages=np.full(sequences.shape, 3),
    )


def _split(
    rng: np.random.Generator,
    users: UserArrays,
    groups: GroupArrays,
    group: Ints,
    leaf: Ints,
    rows: int,
) -> Split:
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    chance = np.where(leaf[item] == group[user], 0.6, 0.1)
    low = user < SPARSE
    return Split(
        users=users,
        groups=groups,
        group_index=group,
        row_context=user,
        row_item=item + FIRST_CODE,
        label=(rng.random(rows) < chance).astype(np.float32),
        row_user=user,
        row_level=np.where(low, 1, 5).astype(np.int8),
        row_low=low,
        context_user=np.arange(USERS),
        context_time=np.zeros(USERS, np.int64),
    )


def measured(model: ConversionModel, drawn: Planted, folder: Path) -> Metrics:
    """Test metrics of a model after training."""
    train(model, drawn.train, CONFIG, folder)
    found = predict(model, drawn.test)
    return evaluate(found.logit, drawn.test, found.alpha_fusion)


@pytest.mark.slow
def test_true_groups_help_sparse_users_and_permuted_ones_do_not(tmp_path: Path) -> None:
    """ChoirRec with the deciding groups beats DIN on sparse users; with permuted groups it ties."""
    drawn = planted()
    permuted = drawn.permuted()
    losses = LossConfig.identified(theta_act=3)
    din = measured(Din(drawn.spec, TINY, drawn.lookups, 1), drawn, tmp_path / "din")
    true, false = (
        measured(ChoirRec(w.spec, TINY, w.lookups, losses, 1), w, tmp_path / name)
        for name, w in (("true", drawn), ("permuted", permuted))
    )
    assert true.low.gauc > din.low.gauc + 0.1
    assert true.low.gauc > false.low.gauc + 0.1
    assert abs(false.low.gauc - din.low.gauc) < 0.05
    assert true.levels[0].alpha_fusion > false.levels[0].alpha_fusion + 0.1
