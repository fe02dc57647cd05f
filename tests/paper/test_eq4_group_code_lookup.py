"""Eq. 4: the base embedding of a level is the row of that level's own table."""

import torch

from model.network.group_id import GroupCodes


def test_base_embedding_is_the_row_of_the_levels_own_table() -> None:
    """e_base^l = E^l[id^l], the row k of "no group" included."""
    codes = GroupCodes(levels=3, codes_per_level=4, width=5)
    group_ids = torch.tensor([[0, 3, 1], [4, 4, 4]])
    tables = list(codes.parameters())
    base = codes(group_ids)
    for user, group_id in enumerate(group_ids.tolist()):
        for level, code in enumerate(group_id):
            assert torch.equal(base[user, level], tables[level][code])
