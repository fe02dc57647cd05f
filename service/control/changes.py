"""Changes of the desired state: pure steps from one revision to the next, or why there is none."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.desired import Canary, Change, Desired, Shadow, Target
from service.errors import ChangeRefused


def prepare(desired: Desired, target: Target, change: Change) -> Desired:
    """Make a target the candidate: every worker loads and checks it, and it answers nobody yet.

    Args:
        desired: the present state.
        target: what is to become ready.
        change: who asks, when and why; its action says what for.

    Raises:
        ChangeRefused: when it is the champion, or another candidate is being prepared.
    """
    if target == desired.champion:
        raise ChangeRefused(f"{target} is the champion already")
    if desired.candidate is not None:
        raise ChangeRefused(
            f"{desired.candidate} is being prepared (revision {desired.revision}, "
            f"{desired.change.action} by {desired.change.who}); wait for its verdict"
        )
    return _next(desired, change, candidate=target)


def check_promotion(desired: Desired, target: Target) -> None:
    """See whether a target may become champion beside what runs now.

    Raises:
        ChangeRefused: when a canary of a third version runs, which would lose its champion.
    """
    running = desired.canary
    if running is not None and target.version not in (
        running.target.version,
        desired.champion.version,
    ):
        raise ChangeRefused(
            f"{running.target} is the canary; stop it or promote it before another version"
        )


def withdraw(desired: Desired, change: Change) -> Desired:
    """Take the candidate out again.

    Raises:
        ChangeRefused: when there is none.
    """
    if desired.candidate is None:
        raise ChangeRefused("there is no candidate to withdraw")
    return _next(desired, change, candidate=None)


def activate(desired: Desired, target: Target, change: Change) -> Desired:
    """Make the candidate the champion; the champion becomes the previous one.

    A canary or shadow of the same target ends with it, and so does a canary of the same version:
    the model is everybody's from now on.

    Args:
        desired: the present state.
        target: what the candidate must be.
        change: who asks, when and why.

    Raises:
        ChangeRefused: when the candidate is another one, or gone.
    """
    _check_candidate(desired, target)
    return _crown(replace(desired, bundles=_pinned(desired, target, change)), target, change)


def start_canary(desired: Desired, canary: Canary, salt: str, change: Change) -> Desired:
    """Let the candidate answer a share of the users.

    Args:
        desired: the present state.
        canary: its target must be the candidate.
        salt: of the new canary; kept as it was when the canary's version stays the same.
        change: who asks, when and why.

    Raises:
        ChangeRefused: when the candidate is another one, or gone, or another version is canary.
    """
    check_canary(desired, canary)
    _check_candidate(desired, canary.target)
    kept = desired.canary is not None
    return _next(
        desired,
        change,
        candidate=None,
        canary=canary,
        salt=desired.salt if kept else salt,
        bundles=_pinned(desired, canary.target, change),
    )


def wanted_canary(
    target: Target, running: Canary | None, share: float | None, testers: bool | None
) -> Canary:
    """The canary that an order means: what it does not name stays as it is.

    Args:
        target: the canary's.
        running: the present canary, where it is of the same version.
        share: of users; None: the present one's, or 0.
        testers: None: the present one's, or as needed for anybody to reach it.

    Raises:
        ChangeRefused: when nobody would reach it.
    """
    if share is None:
        share = running.share if running else 0.0
    if testers is None:
        testers = running.testers if running else share == 0
    if share == 0 and not testers:
        raise ChangeRefused(
            f"nobody would reach {target}: give it a share above 0 or testers, or stop it"
        )
    return Canary(target, share, testers)


def check_canary(desired: Desired, canary: Canary) -> None:
    """See whether a canary makes sense now.

    Raises:
        ChangeRefused: when it is the champion, nobody would reach it, or another version is canary.
    """
    if canary.target == desired.champion:
        raise ChangeRefused(f"{canary.target} is the champion already")
    running = desired.canary
    if running is not None and running.target.version != canary.target.version:
        raise ChangeRefused(
            f"{running.target} is the canary; stop it or promote it before another version"
        )


def reshare_canary(desired: Desired, canary: Canary, change: Change) -> Desired:
    """Change the share or the testers of the canary that runs; nothing is loaded.

    Raises:
        ChangeRefused: when another target is canary, or none, or nothing would change.
    """
    running = desired.canary
    if running is None or running.target != canary.target:
        raise ChangeRefused(f"{canary.target} is not the canary")
    if running == canary:
        raise ChangeRefused(f"{canary.target} has this share already")
    return _next(desired, change, canary=canary)


def stop_canary(desired: Desired, change: Change) -> Desired:
    """End the canary; a promotion of it that is under way ends, too.

    Raises:
        ChangeRefused: when there is none.
    """
    if desired.canary is None:
        raise ChangeRefused("there is no canary to stop")
    candidate = None if desired.candidate == desired.canary.target else desired.candidate
    return _next(desired, change, canary=None, candidate=candidate)


def start_shadow(desired: Desired, shadow: Shadow, change: Change) -> Desired:
    """Let a target score a sample of the requests, or change the target or the sample.

    Raises:
        ChangeRefused: when it is the champion, its sample is 0, or nothing would change.
    """
    if shadow.target == desired.champion:
        raise ChangeRefused(f"{shadow.target} is the champion already")
    if shadow.sample == 0:
        raise ChangeRefused("a shadow with sample 0 scores nothing; stop it instead")
    if shadow == desired.shadow:
        raise ChangeRefused(f"{shadow.target} is the shadow already, with this sample")
    return _next(desired, change, shadow=shadow)


def stop_shadow(desired: Desired, change: Change) -> Desired:
    """End the shadow.

    Raises:
        ChangeRefused: when there is none.
    """
    if desired.shadow is None:
        raise ChangeRefused("there is no shadow to stop")
    return _next(desired, change, shadow=None)


def rollback(desired: Desired, change: Change) -> Desired:
    """Exchange champion and previous; whatever is being prepared is dropped.

    Done twice it goes forward again, to what the first one left.

    Raises:
        ChangeRefused: when there is no previous champion.
    """
    if desired.previous is None:
        raise ChangeRefused(
            "there is no previous champion to go back to; promote the version you want"
        )
    return replace(_crown(desired, desired.previous, change), rolled_back=not desired.rolled_back)


def again(desired: Desired, change: Change) -> Desired:
    """The same roles under a new revision, for those who hold another document of this number."""
    return _next(desired, change)


def pin(desired: Desired, bundles: Mapping[int, str], change: Change) -> Desired:
    """The same roles, and the bundles that some versions mean from now on.

    Args:
        desired: the present state.
        bundles: by version: the digest that every worker holds.
        change: who found it, when and why.
    """
    return _next(desired, change, bundles={**desired.bundles, **bundles})


def _crown(desired: Desired, target: Target, change: Change) -> Desired:
    canary, shadow = desired.canary, desired.shadow
    ends = canary is not None and (
        canary.target == target
        or canary.target.version == target.version != desired.champion.version
    )
    return _next(
        desired,
        change,
        champion=target,
        previous=desired.champion,
        rolled_back=False,
        candidate=None,
        canary=None if ends else canary,
        shadow=None if shadow is not None and shadow.target == target else shadow,
    )


def _check_candidate(desired: Desired, target: Target) -> None:
    if desired.candidate != target:
        raise ChangeRefused(
            f"{target} is no longer the candidate: revision {desired.revision}, "
            f"{desired.change.action} by {desired.change.who}: {desired.change.why}"
        )


def _pinned(desired: Desired, target: Target, change: Change) -> dict[int, str]:
    """The digests of bundles, with the one that all workers have just checked."""
    pins = dict(desired.bundles)
    for digest in change.evidence.get("digests", ()):
        pins[target.version] = digest
    return pins


def _next(desired: Desired, change: Change, **roles: Any) -> Desired:
    after = replace(desired, revision=desired.revision + 1, change=change, **roles)
    named = {target.version for target in after.named}
    kept = {version: digest for version, digest in after.bundles.items() if version in named}
    return replace(after, bundles=kept)
