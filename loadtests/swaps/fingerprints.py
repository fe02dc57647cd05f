"""Fingerprints: what every target must answer, so that an answer shows who gave it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from loadtests.swaps.replicas import HOST
from loadtests.swaps.shop import HOUR, WEEKDAY, Ask, Logits, Shop
from model.desired import Target

BATCH = 3
"""Users of one POST /score/batch."""
BATCH_EVERY = 8
"""One template of so many is a batch."""
TEMPLATES = 32
TOLERANCE = 1e-4
"""Between the service's float32 and other arithmetic; targets differ by more (``apart``)."""
OK = 200


@dataclass(frozen=True)
class Template:
    """A request that is sent again and again."""

    asks: tuple[Ask, ...]
    """More than one: a batch."""
    payload: bytes
    """The whole HTTP request."""


@dataclass(frozen=True)
class Judgement:
    """What an answer is."""

    target: Target | None
    """Who says that it answered; None: nobody did."""
    fault: str | None
    """What is wrong with it; None: it is right."""
    mixed: bool = False
    """Whether its scores are not those of the target that it names, or it names several."""
    degraded: bool = False
    """Whether it rests on less than it could, so that its scores say nothing of its target."""


class Fingerprints:
    """Requests, and what each target must answer to them."""

    def __init__(self, shop: Shop, targets: Sequence[Target]) -> None:
        """Compute every answer beforehand.

        Args:
            shop: knows the answers.
            targets: in the order in which they will serve.

        Raises:
            ValueError: when two that follow one another could not be told apart by every request.
        """
        self._shop = shop
        self.templates = _templates(shop)
        self._expected = {target: self._answers(target) for target in dict.fromkeys(targets)}
        self.apart = min(self._apart(one, other) for one, other in pairwise(targets))
        """The least largest difference in an answer between targets that follow one another."""
        if self.apart < 5 * TOLERANCE:
            raise ValueError(
                f"an answer differs by {self.apart} at most between two targets, which is too "
                f"little beside the tolerance of {TOLERANCE}: take other requests"
            )

    def judge(self, template: int, status: int, body: bytes) -> Judgement:
        """Say what an answer is.

        Args:
            template: number of the request's template.
            status: of the answer; 0: the connection ended without one.
            body: of the answer.
        """
        if status != OK:
            return Judgement(None, f"status {status}: {_code(body)}")
        document = orjson.loads(body)
        answers = document.get("responses", [document])
        named = {(answer["model_version"], answer["generation"]) for answer in answers}
        if len(named) > 1:
            return Judgement(None, f"one answer by {sorted(named)}", mixed=True)
        target = Target(*named.pop())
        if any(answer["degraded"] for answer in answers):
            return Judgement(target, None, degraded=True)
        expected = self._expected.get(target)
        if expected is None or not _equal(_logits(answers), expected[template]):
            return Judgement(target, f"not the scores of {target}", mixed=True)
        return Judgement(target, None)

    def _answers(self, target: Target) -> list[Logits]:
        return [
            np.concatenate([self._own(target, ask) for ask in template.asks])
            for template in self.templates
        ]

    def _own(self, target: Target, ask: Ask) -> Logits:
        """As ``_logits`` lays it out."""
        said = self._shop.expected(target, ask)
        return np.concatenate([said.individual, said.group, [said.alpha_fusion]])

    def _apart(self, one: Target, other: Target) -> float:
        pairs = zip(self._expected[one], self._expected[other], strict=True)
        return min(float(np.abs(a - b).max()) for a, b in pairs)


def payload(path: str, document: Mapping[str, object]) -> bytes:
    """A whole HTTP request."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def call(shop: Shop, user_id: str, item_ids: Sequence[str]) -> dict[str, Any]:
    """The body of POST /score for a user and candidates."""
    context = {"hour": HOUR, "weekday": WEEKDAY}
    document = {"user_id": user_id, "item_ids": item_ids, "request_time": shop.time_s}
    return document | {"context": context}


def _templates(shop: Shop) -> list[Template]:
    chance = np.random.default_rng(0)

    def ask(number: int) -> Ask:
        places = chance.choice(len(shop.item_ids), shop.candidates, replace=False).tolist()
        user_id = shop.user_ids[number % len(shop.user_ids)]
        return Ask(user_id, tuple(shop.item_ids[place] for place in places))

    def template(number: int) -> Template:
        users = 1 if number % BATCH_EVERY else BATCH
        asks = tuple(ask(number + place) for place in range(users))
        calls = [call(shop, one.user_id, one.item_ids) for one in asks]
        if users == 1:
            return Template(asks, payload("/score", calls[0]))
        return Template(asks, payload("/score/batch", {"requests": calls}))

    return [template(number) for number in range(TEMPLATES)]


def _code(body: bytes) -> str:
    """What a problem document calls itself; the first bytes of anything else."""
    try:
        return str(orjson.loads(body)["code"])
    except (ValueError, LookupError, TypeError):
        return repr(body[:80])


def _equal(found: Logits, expected: Logits) -> bool:
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= TOLERANCE)


def _logits(answers: Sequence[Mapping[str, Any]]) -> Logits:
    parts: list[float] = []
    for answer in answers:
        parts += answer["individual_logits"]
        parts += answer["group_logits"]
        parts.append(answer["alpha_fusion"])
    return np.array(parts, np.float64)
