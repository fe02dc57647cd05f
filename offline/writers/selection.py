"""The selection: the writer that the settings name, opened for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from offline.retry import RetryPolicy
from offline.writers.answer import json_schema
from offline.writers.cache import ProfileCache
from offline.writers.chat import ChatWriter
from offline.writers.digest import tell_sentences, tell_windows
from offline.writers.ledger import Ledger
from offline.writers.local_server import MODEL, local_server, revision
from offline.writers.plan import ChatPlan
from offline.writers.prompt import Prompt
from offline.writers.settings import WriterSettings
from offline.writers.template import TemplateWriter
from offline.writers.writer import ProfileWriter, Provenance

_GREEDY = {"temperature": 0.0, "seed": 0}
_LOCAL_SAMPLING = {"max_tokens": 300, "frequency_penalty": 0.4}
_LOCAL_MAX_CHARS = 160
"""A model this small repeats itself: both keep it short of that."""


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
    answers = ProfileCache(cache, plan.provenance)
    ledger = Ledger(answers.folder, settings.budget_tokens)
    if settings.writer == "local":
        writer = ChatWriter(plan, answers, ledger, lambda: local_server(answers.folder))
    else:
        endpoint = settings.endpoint()
        writer = ChatWriter(plan, answers, ledger, lambda: nullcontext(endpoint))
    with writer:
        yield writer


def chat_plan(settings: WriterSettings) -> ChatPlan:
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
    )
