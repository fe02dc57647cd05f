"""Item slices."""

import numpy as np

from model.assembly import Catalogue
from offline.histories import EventLog
from offline.item_slices import RARE_PURCHASES, item_purchases, rare_rows
from tests.baselines import histories
from tests.synthetic import world


def test_purchases_before_training_are_counted_by_item() -> None:
    """Later purchases and unknown items do not count."""
    keys = np.array([10, 20, 10, 77, 20], np.uint64)
    log = EventLog.build(np.array([0, 0, 1, 1, 1]), np.array([1, 2, 3, 4, 9]), keys, 2)
    catalogue = Catalogue(np.array([10, 20], np.uint64), np.zeros((2, 0), np.int32))
    assert item_purchases(catalogue, histories(log), 9).tolist() == [0, 0, 2, 1]


def test_a_row_is_rare_as_its_candidate_is() -> None:
    """The slice follows the candidate's purchases, just under the limit included."""
    split = world(rows=50).split
    purchases = np.full(32, RARE_PURCHASES)
    purchases[5] = RARE_PURCHASES - 1
    assert rare_rows(split, purchases).tolist() == (split.row_item == 5).tolist()
