"""The exchange with an endpoint: many requests under way, each paid for once and kept."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from offline.openai_client import CallFailed, EndpointRefused, OpenAIClient
from offline.retry import retried
from offline.writers.answer import Answer
from offline.writers.cache import ProfileCache
from offline.writers.ledger import Attempt, Ledger
from offline.writers.plan import ChatPlan
from offline.writers.reply import Reply, parse_reply
from offline.writers.writer import WriterFailed

PATH = "/chat/completions"
DEAD_ALLOWED = 5
"""Dead letters that are let pass, or the plan's share of all letters if that is more."""
DEAD_IN_A_ROW = 50
"""So many one after another mean that the endpoint is at fault and not a user's facts."""

Answers = dict[str, Answer | None]


class Exchange:
    """Asks for answers; a request that has none in the end is a dead letter."""

    def __init__(
        self, plan: ChatPlan[Any], client: OpenAIClient, cache: ProfileCache, ledger: Ledger
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            plan: what is asked.
            client: sends it.
            cache: where every answer is kept the moment it arrives.
            ledger: where every attempt is counted.
        """
        self._plan = plan
        self._client = client
        self._cache = cache
        self._ledger = ledger
        self._letters = 0
        self._dead_in_a_row = 0
        self._stop: Exception | None = None
        self._settled = asyncio.Event()
        self.dead: Counter[str] = Counter()
        """Dead letters by what came of their last attempt."""

    async def ask_all(
        self, digests: Sequence[str], done: Callable[[str], object], kept: int
    ) -> Answers:
        """Ask about every digest, a bounded number at a time.

        What stops one request stops all further ones, but those under way are awaited and kept:
        they are paid for.

        Args:
            digests: distinct digests of facts.
            done: told each digest that is settled, as it is settled.
            kept: further letters that earlier runs had answered: a run that asks again about the
                few that fail every time is judged by all of them.

        Returns:
            An answer per digest, or None for a dead letter.

        Raises:
            WriterFailed: when the budget is spent, the endpoint refuses everything, or more
                letters are dead than may pass.
            OSError: when an answer cannot be kept.
        """
        self._letters += kept + len(digests)
        answers: Answers = {}
        waiting = iter(digests)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.concurrency, len(digests))):
                group.create_task(self._work(waiting, answers, done))
        if self._stop is not None:
            raise self._stop
        self._check_share()
        return answers

    async def _work(
        self, waiting: Iterator[str], answers: Answers, done: Callable[[str], object]
    ) -> None:
        while self._stop is None and (digest := next(waiting, None)) is not None:
            try:
                answers[digest] = await self._ask(digest)
            except EndpointRefused as error:
                self._stop = WriterFailed(str(error))
            except Exception as error:  # here, so that it does not cancel the requests under way
                self._stop = error
            else:
                done(digest)

    async def _ask(self, digest: str) -> Answer | None:
        # Before the deadline begins: to wait for others' tokens is no failure of this letter.
        await self._reserve(self._plan.bound_tokens(digest))
        try:
            answer = await retried(lambda number: self._attempt(digest, number), self._plan.policy)
        except CallFailed as failure:
            self._bury(failure)
            return None
        self._dead_in_a_row = 0
        return answer

    async def _attempt(self, digest: str, number: int) -> Answer:
        """One request, counted whatever comes of it; its answer is in the cache when it returns."""
        bound = self._plan.bound_tokens(digest)
        if number > 1:
            await self._reserve(bound)
        reply = await self._send(digest, number, bound)
        try:
            answer = reply.answer(self._plan.kind)
        except CallFailed as failure:
            self._settle(bound, _stated(failure.outcome, number, reply, bound))
            raise
        self._settle(bound, _stated("written", number, reply, bound))
        self._cache.put(digest, answer)
        return answer

    async def _reserve(self, bound: int) -> None:
        """Wait for a place in the budget: requests under way mostly cost less than their bound."""
        while not self._ledger.reserve(bound):
            await self._settled.wait()
            if self._stop is not None:
                raise self._stop

    def _settle(self, bound: int, attempt: Attempt) -> None:
        try:
            self._ledger.settle(bound, attempt)
        finally:
            self._settled.set()
            self._settled = asyncio.Event()

    async def _send(self, digest: str, number: int, bound: int) -> Reply:
        try:
            return parse_reply(await self._client.post(PATH, self._plan.body(digest)))
        except CallFailed as failure:
            unstated = bound if failure.maybe_spent else 0
            self._settle(bound, Attempt(failure.outcome, number, unstated_tokens=unstated))
            raise
        except EndpointRefused:
            self._settle(bound, Attempt("endpoint_refused", number))
            raise
        except BaseException:  # cancelled: it may have been paid for
            self._settle(bound, Attempt("interrupted", number, unstated_tokens=bound))
            raise

    def _bury(self, failure: CallFailed) -> None:
        self.dead[failure.outcome] += 1
        self._dead_in_a_row += 1
        if self._dead_in_a_row >= DEAD_IN_A_ROW:
            raise self._too_many(f"{DEAD_IN_A_ROW} requests in a row were given up: {failure}")

    def _check_share(self) -> None:
        dead = self.dead.total()
        if dead > max(DEAD_ALLOWED, self._plan.dead_share * self._letters):
            raise self._too_many(f"{dead} of {self._letters} requests were given up")

    def _too_many(self, said: str) -> WriterFailed:
        return WriterFailed(
            f"{said}; by outcome {dict(self.dead)}, expected at most {DEAD_ALLOWED} or"
            f" {self._plan.dead_share:.0%}: mend the endpoint and run it again, what is written is"
            " kept"
        )


def _stated(outcome: str, number: int, reply: Reply, bound: int) -> Attempt:
    if reply.usage is None:
        return Attempt(outcome, number, unstated_tokens=bound)
    return Attempt(outcome, number, reply.usage.prompt_tokens, reply.usage.completion_tokens)
