"""Batches gathered from splits."""

from dataclasses import fields, replace

import numpy as np
import torch
from numpy.testing import assert_array_equal

from model.assembly import activity_features, standardise, unknown_user
from model.network.batch import GROUP_COLUMNS, UNKNOWN_ACTIVITY
from tests.synthetic import feature_spec, world

SPLIT = world().split


def test_a_batch_holds_each_rows_own_context_and_prior() -> None:
    """Every row meets its own user, prior, candidate and label."""
    rows = np.array([5, 0, 199, 5])
    batch = SPLIT.batch(rows)
    contexts = SPLIT.row_context[rows]
    assert_array_equal(batch.history_items.numpy(), SPLIT.users.history_items[contexts])
    priors = SPLIT.group_index[contexts]
    assert_array_equal(batch.group_items.numpy(), SPLIT.groups.items[priors])
    assert_array_equal(batch.group_codes.numpy(), SPLIT.groups.codes[priors])
    assert_array_equal(batch.candidates.numpy()[:, 0], SPLIT.row_item[rows])
    assert_array_equal(batch.label.numpy()[:, 0], SPLIT.label[rows])


def test_blocks_cover_every_row_once_and_keep_contexts_together() -> None:
    """Scoring by blocks forgets no row, repeats none and never mixes contexts."""
    blocks = SPLIT.blocks
    assert_array_equal(np.sort(np.concatenate([b.ravel() for b in blocks])), np.arange(len(SPLIT)))
    for block in blocks:
        contexts = SPLIT.row_context[block]
        assert (contexts == contexts[:, :1]).all()
        assert len(np.unique(contexts[:, 0])) == len(block)


def test_a_hidden_user_looks_like_an_unknown_one_in_serving() -> None:
    """What training hides equals what assembly gives an unknown user, field by field."""
    spec = feature_spec()
    record = unknown_user(spec, as_of_s=0)
    batch = SPLIT.batch(np.arange(20)).with_unknown_users(np.ones(20, bool))
    expected = standardise(spec, record.continuous[None])
    assert_array_equal(batch.continuous.numpy(), np.repeat(expected, 20, axis=0))
    assert_array_equal(activity_features(spec, record), UNKNOWN_ACTIVITY)
    assert_array_equal(batch.activity.numpy()[0], UNKNOWN_ACTIVITY)
    assert set(batch.user_row.tolist()) == {1}
    for column in (batch.attributes, batch.history_items, batch.history_ages, batch.purchases):
        assert column.sum() == 0


def test_only_the_chosen_users_are_hidden() -> None:
    """Hiding one row's user leaves every other row, and all priors and contexts, as they were."""
    batch = SPLIT.batch(np.arange(20))
    hidden = batch.with_unknown_users(np.arange(20) == 3)
    for column in fields(batch):
        before, after = getattr(batch, column.name), getattr(hidden, column.name)
        if before is None:
            continue
        kept = np.arange(20) != 3
        assert torch.equal(before[kept], after[kept]), column.name
        if column.name.startswith("group_") or column.name in ("context", "candidates", "label"):
            assert torch.equal(before, after), column.name


def test_each_prior_stands_once_where_priors_are_read_once() -> None:
    """Distinct priors, spread to their contexts, are the batch's own; the users stay."""
    batch = SPLIT.batch(np.arange(40))
    distinct, group_of = batch.distinct_groups()
    assert group_of is not None
    assert len(distinct.group_items) == len(np.unique(SPLIT.group_index[SPLIT.row_context[:40]]))
    for name in GROUP_COLUMNS:
        assert torch.equal(getattr(distinct, name)[group_of], getattr(batch, name)), name
    assert torch.equal(distinct.history_items, batch.history_items)


def test_priors_that_are_not_known_to_be_equal_stay_as_they_are() -> None:
    """A batch made of single records shares nothing."""
    batch = replace(SPLIT.batch(np.arange(5)), group_number=None)
    assert batch.distinct_groups() == (batch, None)
