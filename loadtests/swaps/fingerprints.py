"""Fingerprints: what every (version, generation) must answer, computed without the service."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import orjson
from numpy.typing import NDArray

from loadtests.swaps.replicas import HOST
from model.desired import Target
from tests.fixtures.bundles import AS_OF_S, ITEMS, USERS, World, make_world

Logits = NDArray[np.float64]

TIME_S = AS_OF_S + 4000
HOUR, WEEKDAY = 13, 2
CANDIDATES = 20
BATCH = 3
"""Users of one POST /score/batch."""
BATCH_EVERY = 8
"""One template of so many is a batch."""
TEMPLATES = 32
TOLERANCE = 1e-4
"""Between the graphs' float32 and the arithmetic here; versions and generations differ by far
more (``apart``)."""
OK = 200


@dataclass(frozen=True)
class Ask:
    """One user and candidates."""

    user_id: str
    item_ids: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """The body of POST /score."""
        return {
            "user_id": self.user_id,
            "item_ids": self.item_ids,
            "request_time": TIME_S,
            "context": {"hour": HOUR, "weekday": WEEKDAY},
        }


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

    def __init__(self, targets: Sequence[Target]) -> None:
        """Compute every answer beforehand.

        Args:
            targets: in the order in which they will serve; generations are named ``g<number>``.

        Raises:
            ValueError: when two that follow one another could not be told apart.
        """
        self.templates = _templates()
        self._expected = {target: self._answers(target) for target in dict.fromkeys(targets)}
        self.apart = min(self._apart(a, b) for a, b in pairwise(targets) if a != b)
        """The least difference in any answer between targets that follow one another."""
        if self.apart < 10 * TOLERANCE:
            raise ValueError(f"targets differ by {self.apart} alone: take other requests")

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
        found = _logits(answers)
        expected = self._expected.get(target)
        if expected is None or not _equal(found, expected[template]):
            return Judgement(target, f"not the scores of {target}", mixed=True)
        return Judgement(target, None)

    def _answers(self, target: Target) -> list[Logits]:
        world = records(make_world(target.version), target.generation)
        return [np.concatenate([_own(world, ask) for ask in t.asks]) for t in self.templates]

    def _apart(self, one: Target, other: Target) -> float:
        pairs = zip(self._expected[one], self._expected[other], strict=True)
        return min(float(np.abs(a - b).max()) for a, b in pairs)


def records(world: World, generation: str) -> World:
    """The world with the records of a generation: every user so many records further.

    Args:
        world: any version's.
        generation: ``g<number>``.
    """
    turn = int(generation.removeprefix("g")) % len(USERS)
    turned = USERS[turn:] + USERS[:turn]
    users = {i: replace(world.users[t], user_id=i) for i, t in zip(USERS, turned, strict=True)}
    return replace(world, users=users)


def payload(path: str, document: Mapping[str, object]) -> bytes:
    """A whole HTTP request."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _templates() -> list[Template]:
    chance = np.random.default_rng(0)

    def ask(number: int) -> Ask:
        items = chance.permutation(len(ITEMS))[:CANDIDATES]
        return Ask(USERS[number % len(USERS)], tuple(ITEMS[n] for n in items.tolist()))

    templates = []
    for number in range(TEMPLATES):
        if number % BATCH_EVERY:
            one = ask(number)
            templates.append(Template((one,), payload("/score", one.document())))
        else:
            asks = tuple(ask(number + n) for n in range(BATCH))
            documents = [one.document() for one in asks]
            templates.append(Template(asks, payload("/score/batch", {"requests": documents})))
    return templates


def _own(world: World, ask: Ask) -> Logits:
    """Both channels' logits and alpha_fusion, as ``_logits`` lays them out."""
    user = world.users[ask.user_id]
    individual, group, alpha = world.expected(
        user, world.groups[user.prefix], TIME_S, HOUR, WEEKDAY, ask.item_ids
    )
    return np.concatenate([individual, group, [alpha]])


def _code(body: bytes) -> str:
    """What a problem document calls itself; the first bytes of anything else."""
    try:
        return str(orjson.loads(body)["code"])
    except (ValueError, LookupError, TypeError):
        return repr(body[:80])


def _equal(found: Logits, expected: Logits) -> bool:
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= TOLERANCE)


def _logits(answers: Sequence[Mapping[str, object]]) -> Logits:
    parts: list[object] = []
    for answer in answers:
        parts += [answer["individual_logits"], answer["group_logits"], [answer["alpha_fusion"]]]
    return np.concatenate([np.array(part, np.float64) for part in parts])
