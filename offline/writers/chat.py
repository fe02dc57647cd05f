"""The chat writer: profiles by a language model behind an OpenAI-compatible endpoint."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Self

from model.profile_text import UserFacts, render
from offline.openai_client import Endpoint, OpenAIClient
from offline.writers import answer
from offline.writers.cache import ProfileCache
from offline.writers.exchange import Answers, Exchange
from offline.writers.ledger import Ledger
from offline.writers.plan import ChatPlan
from offline.writers.writer import TEMPLATE, Provenance, WriterFailed, WrittenProfile


class ChatWriter:
    """Writes identity, interests and philosophy, beside the template's attributes.

    Answers come from the cache where they can; users with equal facts share one. A dead letter is
    written by the template, as one text in the section "interests". A context manager: it ends
    what it started.
    """

    sections = ("attributes", *answer.SECTIONS)

    def __init__(
        self,
        plan: ChatPlan,
        cache: ProfileCache,
        ledger: Ledger,
        endpoint: Callable[[], AbstractContextManager[Endpoint]],
    ) -> None:
        """Prepare; nothing is started or sent while every answer is in the cache.

        Args:
            plan: what is asked.
            cache: answers of earlier runs.
            ledger: counts attempts.
            endpoint: names the endpoint, or starts it and ends it with the writer.
        """
        self._plan = plan
        self._cache = cache
        self._ledger = ledger
        self._endpoint = endpoint
        self._stack = ExitStack()
        self._opened: tuple[asyncio.Runner, Exchange] | None = None

    @property
    def provenance(self) -> Provenance:
        """What the profiles depend on besides facts."""
        return self._plan.provenance

    @property
    def dead(self) -> Counter[str]:
        """Requests given up, by what came of their last attempt."""
        return self._opened[1].dead if self._opened else Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._cache.close()
        self._ledger.close()

    def write(
        self, users: Sequence[UserFacts], advance: Callable[[int], object]
    ) -> list[WrittenProfile]:
        """Write the profiles of some users.

        Args:
            users: facts, one entry per user.
            advance: told how many users more are done, as they are done.

        Returns:
            A profile per user, in the order given. A user without purchases and queries has the
            template's attributes alone, as a newcomer known by attributes has online.

        Raises:
            WriterFailed: when going on makes no sense; what was paid for is kept.
        """
        self._check_allowed(users)
        digests = [self._plan.digest(facts, self._plan.allowed) for facts in users]
        shared = Counter(digests)
        advance(shared.pop("", 0))
        answers: Answers = {digest: self._cache.get(digest) for digest in shared}
        missing = [digest for digest, found in answers.items() if found is None]
        advance(shared.total() - sum(shared[digest] for digest in missing))
        if missing:
            answers |= self._ask(missing, lambda digest: advance(shared[digest]))
        pairs = zip(users, digests, strict=True)
        return [self._profile(facts, digest, answers) for facts, digest in pairs]

    def _check_allowed(self, users: Sequence[UserFacts]) -> None:
        """A misspelt name would tell nothing, and nobody would notice."""
        known = list(users[0].attributes) if users else []
        unknown = sorted(set(self._plan.allowed or ()) - set(known))
        if unknown and users:
            raise WriterFailed(
                f"attributes {unknown} may be told, but users have {known}: mend the setting"
            )

    def _ask(self, missing: Sequence[str], done: Callable[[str], object]) -> Answers:
        if self._opened is None:
            endpoint = self._stack.enter_context(self._endpoint())
            runner = self._stack.enter_context(asyncio.Runner())
            client = OpenAIClient(endpoint)
            self._stack.callback(lambda: runner.run(client.close()))
            self._opened = runner, Exchange(self._plan, client, self._cache, self._ledger)
        runner, exchange = self._opened
        return runner.run(exchange.ask_all(missing, done))

    def _profile(
        self, facts: UserFacts, digest: str, answers: Mapping[str, answer.Answer | None]
    ) -> WrittenProfile:
        rendered = render(facts)
        if not digest:
            return WrittenProfile((rendered.attributes, "", "", ""), None)
        found = answers[digest]
        if found is None:
            told = "; ".join(filter(None, rendered.sections[1:]))
            return WrittenProfile((rendered.attributes, "", told, ""), TEMPLATE)
        return WrittenProfile((rendered.attributes, *found.texts()), self.provenance.writer)
