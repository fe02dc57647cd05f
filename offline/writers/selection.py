"""The selection: the writer that the settings name, opened for the length of a block."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from model.profile_text import UserFacts
from offline.retry import RetryPolicy
from offline.writers.answer import MAX_CHARS, GroupAnswer, json_schema
from offline.writers.cache import ProfileCache
from offline.writers.chat import ChatWriter
from offline.writers.correspondence import Correspondence
from offline.writers.digest import SENTENCES, WINDOWS, tell_sentences, tell_windows
from offline.writers.ledger import Ledger
from offline.writers.local_server import MODEL, local_server, revision
from offline.writers.plan import ChatPlan
from offline.writers.prompt import Prompt
from offline.writers.settings import WriterSettings
from offline.writers.template import TemplateWriter
from offline.writers.writer import ProfileWriter, Provenance

F = TypeVar("F")

_GREEDY = {"temperature": 0.0, "seed": 0}
_LOCAL_SAMPLING = {"max_tokens": 300, "frequency_penalty": 0.4}
_LOCAL_MAX_CHARS = 160
"""A model this small repeats itself: both keep it short of that."""
_CARDS_DEAD_SHARE = 0.5
"""Every card says who wrote it, so the template cannot take over unnoticed."""


def provenance(settings: WriterSettings) -> Provenance:
    """What the profiles will depend on besides facts.

    Args:
        settings: name the writer.

    Returns:
        Its provenance; nothing is started.

    Raises:
        WriterFailed: when the writer "local" is not installed.
    """
    if settings.writer == "template":
        return TemplateWriter.provenance
    return chat_plan(settings).provenance


@contextmanager
def open_writer(settings: WriterSettings, cache: Path) -> Iterator[ProfileWriter]:
    """Open a writer; a server or connection it needs begins with the first missing answer.

    Args:
        settings: name the writer.
        cache: folder of all writers' caches, to be kept between runs.

    Yields:
        The writer.

    Raises:
        WriterFailed: when the writer is not installed.
        ConfigError: when the key cannot be read.
    """
    if settings.writer == "template":
        yield TemplateWriter()
        return
    plan = chat_plan(settings)
    with open_correspondence(plan, settings, cache) as correspondence:
        yield ChatWriter(plan, correspondence)


def open_correspondence(
    plan: ChatPlan[Any], settings: WriterSettings, cache: Path
) -> Correspondence:
    """A correspondence with the language model that the settings name.

    Args:
        plan: what is asked.
        settings: of the writer "openai" or "local".
        cache: folder of all caches, to be kept between runs.

    Returns:
        The correspondence; a server or connection begins with the first missing answer.

    Raises:
        ConfigError: when the key cannot be read.
    """
    answers = ProfileCache(cache, plan.provenance, plan.kind)
    ledger = Ledger(answers.folder, settings.budget_tokens)
    if settings.writer == "local":
        return Correspondence(plan, answers, ledger, lambda: local_server(answers.folder))
    endpoint = settings.endpoint()
    return Correspondence(plan, answers, ledger, lambda: nullcontext(endpoint))


def group_plan(
    settings: WriterSettings, digest: Callable[[F, Collection[str] | None], str]
) -> ChatPlan[F]:
    """The plan for names and summaries of groups, by the model that writes profiles.

    Args:
        settings: as for ``chat_plan``.
        digest: how the facts of a group are told, given the attributes that may be.

    Returns:
        The plan.
    """
    users = chat_plan(settings)
    return ChatPlan(
        writer=users.writer,
        model=users.model,
        revision=users.revision,
        prompt=Prompt.load("group-1"),
        digest=digest,
        sampling=users.sampling,
        allowed=users.allowed,
        concurrency=users.concurrency,
        policy=users.policy,
        dead_share=_CARDS_DEAD_SHARE,
        kind=GroupAnswer,
        schema=json_schema(
            _LOCAL_MAX_CHARS if settings.writer == "local" else MAX_CHARS, GroupAnswer
        ),
    )


def chat_plan(settings: WriterSettings) -> ChatPlan[UserFacts]:
    """The plan of a writer that is a language model.

    Args:
        settings: of the writer "openai" or "local". The local one tells all attributes, since
            nothing leaves the machine, and asks one by one, so that equal requests meet equal
            arithmetic and give equal answers.

    Returns:
        The plan.
    """
    policy = RetryPolicy(deadline_s=settings.deadline_s)
    if settings.writer == "local":
        return ChatPlan(
            writer="local",
            model=MODEL,
            revision=revision(),
            prompt=Prompt.load("rewrite-1"),
            digest=tell_sentences,
            sampling=_GREEDY | _LOCAL_SAMPLING,
            allowed=None,
            concurrency=1,
            policy=policy,
            schema=json_schema(_LOCAL_MAX_CHARS),
            telling=SENTENCES,
        )
    return ChatPlan(
        writer="openai",
        model=settings.model,
        revision=settings.revision,
        prompt=Prompt.load("synthesise-1"),
        digest=tell_windows,
        sampling=_GREEDY | {"max_tokens": settings.max_tokens} | settings.extra,
        allowed=settings.attributes,
        concurrency=settings.concurrency,
        policy=policy,
        telling=WINDOWS,
    )
