"""Golden requests: users of every kind, so that a loaded bundle is tried where it could break."""

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from model.assembly import (
    Catalogue,
    GroupArrays,
    Ids,
    UserArrays,
    group_arrays,
    unknown_user,
    user_arrays,
)
from model.golden import GoldenRequest
from model.records import GroupRecord, UserRecord
from model.spec import FIRST_CODE, FeatureSpec, hour_and_weekday, item_key

LEVELS = 5
USERS_PER_LEVEL = 2
UNKNOWN_ITEM = "no such item"
CANDIDATES = (1, 2, 7, 20)
"""Numbers of candidates, in turn."""
HOUR_S = 3600


def choose_requests(
    spec: FeatureSpec,
    users: Sequence[UserRecord],
    groups: Mapping[tuple[int, ...], GroupRecord],
    item_ids: Sequence[str],
    as_of_s: int,
) -> tuple[GoldenRequest, ...]:
    """Choose about 16 requests from a generation's records, the same ones every time.

    Args:
        spec: the feature spec.
        users: user records.
        groups: priors by prefix, the global one among them.
        item_ids: ids of the catalogue, not empty.
        as_of_s: the generation's moment.

    Returns:
        Two users of each activity level that has any, one without purchases, one with more than
        the history holds, two unknown users, and every level's priors that those users have. The
        last candidate of every second request is an unknown item.

    Raises:
        KeyError: when a user's prior, or the global one, is not among the groups.
    """
    chosen: list[UserRecord | None] = []
    for level in range(1, LEVELS + 1):
        of_level = (u for u in users if spec.activity_level(u.window_purchases) == level)
        chosen += islice(of_level, USERS_PER_LEVEL)
    chosen += islice((u for u in users if not len(u.purchase_items)), 1)
    chosen += islice((u for u in users if len(u.purchase_items) > spec.history_len), 1)
    chosen += [
        user
        for depth in range(spec.levels + 1)
        for user in islice((u for u in users if u.prefix_depth == depth), 1)
    ]
    chosen += [None, None]
    return tuple(
        _request(number, user, groups[user.prefix if user else ()], item_ids, as_of_s)
        for number, user in enumerate(chosen)
    )


def request_arrays(
    spec: FeatureSpec, catalogue: Catalogue, request: GoldenRequest
) -> tuple[UserArrays, GroupArrays, Ids]:
    """Assemble a request as the service does.

    Args:
        spec: the feature spec.
        catalogue: the catalogue of the same bundle.
        request: the request with its records.

    Returns:
        The user side and the group side for R = 1, and int64 ``[1, C]`` catalogue rows.
    """
    moment = request.request_time_s
    context = [
        field.code(str(value))
        for field, value in zip(spec.context, (request.hour, request.weekday), strict=True)
    ]
    users = user_arrays(
        spec,
        catalogue,
        [request.user or unknown_user(spec, moment)],
        [moment],
        np.array([context], np.int64),
    )
    keys = np.array([[item_key(item) for item in request.item_ids]], np.uint64)
    groups = group_arrays(spec, catalogue, [request.group], request.group_as_of_s)
    return users, groups, catalogue.rows(keys)


def _request(
    number: int,
    user: UserRecord | None,
    group: GroupRecord,
    item_ids: Sequence[str],
    as_of_s: int,
) -> GoldenRequest:
    count = CANDIDATES[number % len(CANDIDATES)]
    # A stride walks through the whole catalogue, whatever its size.
    items = [item_ids[(number * 7919 + n * 104_729) % len(item_ids)] for n in range(count)]
    if number % 2:
        items[-1] = UNKNOWN_ITEM
    moment = as_of_s + number * 5 * HOUR_S
    hour, weekday = (hour_and_weekday([moment])[0] - FIRST_CODE).tolist()
    return GoldenRequest(user, group, as_of_s, moment, hour, weekday, tuple(items))
