"""The desired state: one document that says which version and generation has which role."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from model.generation import check_name

DESIRED_KEY = "choirrec:desired"
"""Where the document stands in Redis."""
REPLICAS_KEY = "choirrec:replicas"
"""A Redis hash: by replica ``<expiry, ms since the epoch> <JSON of its report>``; the report's
``workers[].targets[]`` name the version and generation of everything that it holds."""
_SALT = re.compile(r"[0-9A-Za-z_-]{1,64}")


class BadDesired(ValueError):
    """A document that cannot be followed: what is wrong with it."""


@dataclass(frozen=True, order=True)
class Target:
    """What one role serves: a model version with a generation."""

    version: int
    generation: str

    def __post_init__(self) -> None:
        if type(self.version) is not int or self.version < 1:
            raise BadDesired(f"version {self.version!r}, expected a positive integer")
        check_name(self.generation)

    def __str__(self) -> str:
        return f"{self.version}/{self.generation}"


@dataclass(frozen=True)
class Canary:
    """A target that answers a share of the users."""

    target: Target
    share: float
    """Of users, above 0 and at most 1; each user stays on one side (``salt``). 0: testers alone."""
    testers: bool = False
    """Whether callers may ask for it by the header ``x-choirrec-canary: 1``; with 0 they may."""

    def __post_init__(self) -> None:
        _check_share("canary share", self.share)


@dataclass(frozen=True)
class Shadow:
    """A target that scores a sample of the requests, whose answers nobody gets."""

    target: Target
    sample: float
    """Of requests, above 0 and at most 1."""

    def __post_init__(self) -> None:
        _check_share("shadow sample", self.sample)


@dataclass(frozen=True)
class Change:
    """Who made a revision, when and why."""

    action: str
    who: str
    why: str
    when_s: float
    """Seconds since the epoch."""
    forced: bool = False
    """Whether a guard said no and was overruled."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What guards saw, and the digests of the bundles concerned."""


@dataclass(frozen=True)
class Desired:
    """One revision of the desired state."""

    revision: int
    """Grows by one with every change; a worker never goes back to a lower one."""
    champion: Target
    change: Change
    salt: str
    """Decides, with the user id, who is on the canary's side; kept while one canary lasts."""
    previous: Target | None = None
    """The champion before; stays loaded, so that a rollback loads nothing."""
    rolled_back: bool = False
    """Whether a rollback left ``previous``: going back once more would go forward to it."""
    candidate: Target | None = None
    """To be made ready on every worker; answers nobody yet."""
    canary: Canary | None = None
    shadow: Shadow | None = None
    bundles: Mapping[int, str] = field(default_factory=dict)
    """By model version: the digest of the bundle that every worker checked. Under that number no
    other bundle is loaded."""

    def __post_init__(self) -> None:
        if type(self.revision) is not int or self.revision < 1:
            raise BadDesired(f"revision {self.revision!r}, expected a positive integer")
        if not _SALT.fullmatch(self.salt):
            raise BadDesired(f"salt {self.salt!r}, expected 1 to 64 letters, digits, _ or -")
        for role in (self.canary, self.shadow):
            if role is not None and role.target == self.champion:
                raise BadDesired(f"{role.target} is the champion already")

    @property
    def resident(self) -> tuple[Target, ...]:
        """The targets that every worker holds loaded, the champion first."""
        canary = self.canary.target if self.canary else None
        wanted = (self.champion, canary, self.candidate, self.previous)
        return tuple(dict.fromkeys(target for target in wanted if target is not None))

    @property
    def serving(self) -> tuple[Target, ...]:
        """The targets that score requests: the champion's, the canary's, the shadow's."""
        roles = (self.canary, self.shadow)
        return (self.champion, *(role.target for role in roles if role is not None))

    @property
    def named(self) -> frozenset[Target]:
        """Every target it names, the shadow's too; their generations must not be removed."""
        return frozenset((*self.resident, *((self.shadow.target,) if self.shadow else ())))

    def to_json(self) -> str:
        """JSON for people and programs, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Desired":
        """Read what ``to_json`` wrote.

        Raises:
            BadDesired: when the text is no such document, naming what is wrong.
        """
        try:
            fields = json.loads(text)
            for role in ("champion", "previous", "candidate"):
                fields[role] = _target(fields.get(role))
            for role, kind in (("canary", Canary), ("shadow", Shadow)):
                if fields.get(role) is not None:
                    part = fields[role]
                    fields[role] = kind(**(part | {"target": Target(**part["target"])}))
            bundles = fields.get("bundles") or {}
            fields["bundles"] = {int(version): digest for version, digest in bundles.items()}
            return cls(**(fields | {"change": Change(**fields["change"])}))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadDesired(f"not a desired state ({type(error).__name__}: {error})") from error


def _target(fields: Any) -> Target | None:
    return None if fields is None else Target(**fields)


def _check_share(name: str, share: object) -> None:
    # A NaN lies in no range.
    if type(share) not in (int, float) or not 0 <= share <= 1:  # type: ignore[operator]
        raise BadDesired(f"{name} {share!r}, expected a number from 0 to 1")
