"""Replay: a logged request scored again, and why it would be scored otherwise now."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model.repository import Repository
from service.errors import LoadError
from service.feedback.attribution import ALL, Effect, effect, effects
from service.feedback.build import build_name
from service.feedback.logged import STOOD_IN, LoggedRequest, NotLogged, find_logged, rescore
from service.feedback.present import Present, read_present
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.loading import BundleLoader
from service.lifecycle.served_model import LoadedBundle
from service.scorer import NonFinite, Scores
from service.settings import Settings

Verdict = Literal["equal", "within tolerance", "differs"]

_LOGITS = ("individual_logits", "group_logits", "fused_logits")


class NotReplayed(Exception):
    """A request that cannot be replayed: why, and what would mend it."""


@dataclass(frozen=True)
class Wish:
    """What to replay, and against what."""

    request_id: str
    log: Path
    version: int | None = None
    """The model of now; None: the one that answered."""
    generation: str | None = None
    """The records of now; None: the newest complete generation that fits the model."""


@dataclass(frozen=True, eq=False)
class Again:
    """What answered, asked again: the same model on the logged records."""

    scores: Scores
    verdict: Verdict
    """equal: every bit of every column."""
    largest: float
    """Largest |difference| / max(1, |logged|) of any logit, and of alpha_fusion."""
    tolerance: float
    """Of the manifest, for this provider."""
    same_build: bool
    """Whether packages, processor and provider are those that answered, so that bits count."""

    @property
    def holds(self) -> bool:
        """Whether the answer was reproduced as closely as it must be."""
        near = self.verdict == "within tolerance" and not self.same_build
        return self.verdict == "equal" or near


@dataclass(frozen=True, eq=False)
class Now:
    """The same request as it would be answered now."""

    version: int
    generation: str | None
    """None: the present records could not be read, those of the log stand for them."""
    scores: Scores
    effects: Sequence[Effect]
    """Each part by itself, where that is possible; at last all of them."""
    notes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Replay:
    """What came of a replay."""

    logged: LoggedRequest
    again: Again
    now: Now


def replay(settings: Settings, wish: Wish) -> Replay:
    """Score a logged request again.

    Args:
        settings: name repository, private store and Redis.
        wish: which request, and against what.

    Raises:
        NotReplayed: when the request, its model or a generation that was named is not there.
        ValueError: as ``find_logged``.
    """
    try:
        logged = find_logged(wish.log, wish.request_id)
        loader = _loader(settings, int(logged.row["chunk"]))
        before = _answering(loader, logged)
        again = _compare(before, rescore(before, logged.parts, logged), logged)
        after = before
        if wish.version is not None and wish.version != logged.row["version"]:
            after = loader.load(wish.version, _unheard)
        return Replay(logged, again, _now(settings, wish, (before, after), logged, again))
    except NotLogged as error:
        raise NotReplayed(str(error)) from error
    except LoadError as error:
        raise NotReplayed(error.detail) from error
    except NonFinite as error:
        raise NotReplayed(f"request {wish.request_id!r}: {error}") from error


def _unheard(_: str) -> None:
    """A load that reports to nobody."""


def _loader(settings: Settings, chunk: int) -> BundleLoader:
    backend = OnnxRuntimeBackend(settings.threads)
    return BundleLoader(Repository(settings.repository), settings.store, backend, chunk)


def _answering(loader: BundleLoader, logged: LoggedRequest) -> LoadedBundle:
    loaded = loader.load(int(logged.row["version"]), _unheard)
    if loaded.bundle.digest != logged.row["bundle_digest"]:
        raise NotReplayed(
            f"model version {logged.row['version']} of this repository is another bundle "
            f"({loaded.bundle.digest[:12]}) than the one that answered "
            f"({logged.row['bundle_digest'][:12]}); name the right one by --repository"
        )
    return loaded


def _compare(loaded: LoadedBundle, scores: Scores, logged: LoggedRequest) -> Again:
    was, row = logged.scores, logged.row
    names = (*_LOGITS, "scores")
    equal = all(np.array_equal(getattr(was, name), getattr(scores, name)) for name in names)
    equal = equal and was.alpha_fusion == scores.alpha_fusion
    tolerance = loaded.bundle.manifest.tolerances[loaded.provider]
    largest = _largest(was, scores)
    near: Verdict = "within tolerance" if largest <= tolerance else "differs"
    return Again(
        scores=scores,
        verdict="equal" if equal else near,
        largest=largest,
        tolerance=tolerance,
        same_build=(row["build"], row["provider"]) == (build_name(), loaded.provider),
    )


def _largest(was: Scores, scores: Scores) -> float:
    logits = [np.abs(getattr(scores, name) - getattr(was, name)) for name in _LOGITS]
    scales = [np.maximum(1.0, np.abs(getattr(was, name))) for name in _LOGITS]
    ratios = [float((d / s).max()) for d, s in zip(logits, scales, strict=True)]
    return max(*ratios, abs(scores.alpha_fusion - was.alpha_fusion))


def _now(
    settings: Settings,
    wish: Wish,
    models: tuple[LoadedBundle, LoadedBundle],
    logged: LoggedRequest,
    again: Again,
) -> Now:
    after = models[1]
    contracts = {model.bundle.manifest.feature_contract for model in models}
    if len(contracts) > 1:
        _check_readable(logged, after)
    notes: list[str] = []
    present: Present | None = None
    try:
        present = asyncio.run(read_present(settings, after, logged, wish.generation))
        notes += present.notes
    except LoadError as error:
        if wish.generation is not None or len(contracts) > 1:
            raise
        notes.append(f"the present records were not read: {error.detail}")
    if len(contracts) > 1:
        notes.append("the models have different feature contracts: nothing changes by itself")
    return _judged(models, present, logged, again, notes)


def _judged(
    models: tuple[LoadedBundle, LoadedBundle],
    present: Present | None,
    logged: LoggedRequest,
    again: Again,
    notes: Sequence[str],
) -> Now:
    before, after = models
    parts = present.parts if present else logged.parts
    manifest = after.bundle.manifest
    alone: list[Effect] = []
    if manifest.feature_contract == before.bundle.manifest.feature_contract:
        alone = list(effects(before, after, parts, logged))
    scores = rescore(after, parts, logged)
    changed = any(one.changed for one in alone) or not alone
    together = effect(ALL, again.scores, scores, changed=changed)
    generation = present.generation if present else None
    return Now(manifest.model_version, generation, scores, [*alone, together], notes)


def _check_readable(logged: LoggedRequest, after: LoadedBundle) -> None:
    """A model of another feature contract can read nothing of the log; all must be read anew."""
    if logged.row["user_hashed"] or logged.row["user_status"] in STOOD_IN:
        raise NotReplayed(
            f"model version {after.bundle.manifest.model_version} has another feature contract "
            "than the one that answered, and of this user there is nothing but what the log holds; "
            "name a version of the same contract"
        )
