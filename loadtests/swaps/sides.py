"""Sides of a canary: how many users it answers, and whether each of them stays."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from loadtests.swaps.fingerprints import OK, call, payload
from loadtests.swaps.lanes import Lane
from loadtests.swaps.replicas import Replica
from loadtests.swaps.shop import Shop
from model.desired import Target

Call = Mapping[str, Any]

SHARE, RAISED = 0.1, 0.2
AT_ONCE = 50
"""Users of one POST /score/batch."""


async def canary_figures(
    shop: Shop, replicas: Sequence[Replica], lanes: Sequence[Lane], target: Target, users: int
) -> dict[str, Any]:
    """Give a canary a share and ask for every user twice, then raise the share and ask again.

    Args:
        shop: what is served.
        replicas: the first takes the orders.
        lanes: of every worker; each user asks another worker each time.
        target: the canary's.
        users: how many.

    Returns:
        ``canary_share_error`` in points; ``canary_sticky``, the share of users whom the second
        answer and the raised share left on their side, or took in; and what they follow from.
    """
    calls = [call(shop, f"caller-{number}", [shop.item_ids[0]]) for number in range(users)]
    names = [one["user_id"] for one in calls]
    order = {"version": target.version, "generation": target.generation}
    await asyncio.to_thread(replicas[0].order, "canary", share=SHARE, **order)
    first = await _sides(lanes, calls, 0)
    second = await _sides(lanes, calls, 1)
    await asyncio.to_thread(replicas[0].order, "canary", share=RAISED, **order)
    raised = await _sides(lanes, calls, 2)
    await asyncio.to_thread(replicas[0].order, "canary/stop")
    inside = [name for name in names if first[name] == target.version]
    stayed = sum(first[name] == second[name] for name in names)
    kept = sum(raised[name] == target.version for name in inside)
    left = len(inside) - kept
    share, share_raised = len(inside) / users, _share(raised, target)
    return {
        "canary_share_error": round(100 * abs(share - SHARE), 3),
        "canary_sticky": (stayed - left) / users,
        "canary": {
            "users": users,
            "share": {"wanted": SHARE, "found": share},
            "raised": {"wanted": RAISED, "found": share_raised},
            "left_by_raise": left,
        },
    }


async def _sides(lanes: Sequence[Lane], calls: Sequence[Call], turn: int) -> Mapping[str, int]:
    """The version that answered each user, asked of the worker after the last time's."""
    parts: list[list[Sequence[Call]]] = [[] for _ in lanes]
    for number in range(0, len(calls), AT_ONCE):
        place = (number // AT_ONCE + turn) % len(lanes)
        parts[place].append(calls[number : number + AT_ONCE])
    found: dict[str, int] = {}
    asked = (_ask(lane, part, found) for lane, part in zip(lanes, parts, strict=True))
    await asyncio.gather(*asked)
    return found


async def _ask(lane: Lane, parts: Sequence[Sequence[Call]], found: dict[str, int]) -> None:
    for calls in parts:
        status, body = await _answer(lane, payload("/score/batch", {"requests": calls}))
        if status != OK:
            raise RuntimeError(f"POST /score/batch answered {status}: {body[:200]!r}")
        versions = [answer["model_version"] for answer in orjson.loads(body)["responses"]]
        users = (one["user_id"] for one in calls)
        found.update(zip(users, versions, strict=True))


async def _answer(lane: Lane, request: bytes) -> tuple[int, bytes]:
    answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    lane.ask(request, lambda: lambda status, body: answer.set_result((status, body)))
    return await answer


def _share(sides: Mapping[str, int], target: Target) -> float:
    return sum(version == target.version for version in sides.values()) / len(sides)
