"""The correspondence with a language model: answers from the cache, and from an endpoint."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

from offline.interruption import cancelling_on_signals
from offline.openai_client import Endpoint, OpenAIClient
from offline.writers.cache import ProfileCache
from offline.writers.exchange import Answers, Exchange
from offline.writers.ledger import Ledger
from offline.writers.plan import ChatPlan

LOGGER = logging.getLogger(__name__)


class Correspondence:
    """Answers to digests of facts; equal digests share one.

    A context manager: it ends what it started. Nothing is started or sent while every answer is in
    the cache.
    """

    def __init__(
        self,
        plan: ChatPlan[Any],
        cache: ProfileCache,
        ledger: Ledger,
        endpoint: Callable[[], AbstractContextManager[Endpoint]],
    ) -> None:
        """Prepare.

        Args:
            plan: what is asked.
            cache: answers of earlier runs.
            ledger: counts attempts.
            endpoint: names the endpoint, or starts it and ends it with the correspondence.
        """
        self._plan = plan
        self._endpoint = endpoint
        self._stack = ExitStack()
        self._opened: tuple[asyncio.Runner, Exchange] | None = None
        self._kept = 0
        self.cache = cache
        self.ledger = ledger
        if cache.damaged:
            LOGGER.warning(
                "%d torn or altered lines of %s are left out, their answers asked for again",
                cache.damaged,
                cache.folder,
            )

    @property
    def dead(self) -> Counter[str]:
        """Requests given up, by what came of their last attempt."""
        return self._opened[1].dead if self._opened else Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if self.dead and failed is None:
            LOGGER.warning(
                "%d requests were given up, the template stands in for their answers: %s",
                self.dead.total(),
                dict(self.dead),
            )
        self._stack.close()
        self.cache.close()
        self.ledger.close()

    def answers(self, digests: Sequence[str], advance: Callable[[int], object]) -> Answers:
        """Answer digests.

        Args:
            digests: of facts; an empty one is nothing to ask about.
            advance: told how many of them more are done, as they are done.

        Returns:
            By digest, the empty one left out: an answer, or None for a dead letter.

        Raises:
            WriterFailed: when going on makes no sense; what was paid for is kept.
        """
        shared = Counter(digests)
        advance(shared.pop("", 0))
        answers: Answers = {digest: self.cache.get(digest) for digest in shared}
        missing = [digest for digest, found in answers.items() if found is None]
        advance(shared.total() - sum(shared[digest] for digest in missing))
        self._kept += len(answers) - len(missing)
        if missing:
            answers |= self._ask(missing, lambda digest: advance(shared[digest]))
        return answers

    def _ask(self, missing: Sequence[str], done: Callable[[str], object]) -> Answers:
        if self._opened is None:
            endpoint = self._stack.enter_context(self._endpoint())
            runner = self._stack.enter_context(asyncio.Runner())
            client = OpenAIClient(endpoint)
            self._stack.callback(lambda: runner.run(client.close()))
            self._opened = runner, Exchange(self._plan, client, self.cache, self.ledger)
        runner, exchange = self._opened
        kept, self._kept = self._kept, 0
        loop = runner.get_loop()
        asking = loop.create_task(exchange.ask_all(missing, done, kept))
        with cancelling_on_signals(lambda: loop.call_soon_threadsafe(asking.cancel)):
            return runner.run(_awaited(asking))


async def _awaited(asking: asyncio.Task[Answers]) -> Answers:
    return await asking
