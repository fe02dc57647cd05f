"""The traffic of a load test: what it asks for, and which answers are right."""

import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

FILE = Path("var/load.json")
"""Where the demo writes what there is to ask for."""
SIZES = (1, 50, 500)
LOW_SHARE = 0.5
LOW_LEVELS = (1, 2)
"""The activity levels that count as low here: two fifths of the users."""


class UnusableTraffic(ValueError):
    """The file, a variable or the address of the service cannot be used as it stands."""


@dataclass(frozen=True)
class Profile:
    """What kind of calls, set by environment variables."""

    sizes: Sequence[int] = SIZES
    """Numbers of candidates, each drawn equally often."""
    low_share: float = LOW_SHARE
    """Share of the calls that are for users of a low activity level, 0 to 1."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read ``CHOIRREC_LOAD_CANDIDATES`` ("1,50,500") and ``CHOIRREC_LOAD_LOW_SHARE`` ("0.5").

        Raises:
            UnusableTraffic: naming the variable, its value and what was expected.
        """
        sizes = _read(environment, "CHOIRREC_LOAD_CANDIDATES", SIZES, _sizes, "such as 1,50,500")
        share = _read(environment, "CHOIRREC_LOAD_LOW_SHARE", LOW_SHARE, _share, "from 0 to 1")
        return cls(sizes=sizes, low_share=share)


@dataclass(frozen=True)
class Traffic:
    """Users and items that the service under test knows."""

    url: str
    low_users: Sequence[str]
    other_users: Sequence[str]
    item_ids: Sequence[str]
    request_time: float
    """Seconds since the epoch: the moment that the records speak of."""
    profile: Profile

    @classmethod
    def from_file(cls, path: Path, profile: Profile) -> Self:
        """Read what the demo wrote.

        Args:
            path: of the file: ``{"url", "users": [{"user_id", "activity_level"}], "item_ids",
                "request_time"}``.
            profile: the kind of calls to draw.

        Raises:
            UnusableTraffic: when it is missing, malformed, or holds too little for the profile.
        """
        try:
            document = json.loads(path.read_bytes())
            users = [(str(u["user_id"]), int(u["activity_level"])) for u in document["users"]]
            traffic = cls(
                url=str(document["url"]).rstrip("/"),
                low_users=[user for user, level in users if level in LOW_LEVELS],
                other_users=[user for user, level in users if level not in LOW_LEVELS],
                item_ids=[str(item_id) for item_id in document["item_ids"]],
                request_time=float(document["request_time"]),
                profile=profile,
            )
        except FileNotFoundError as error:
            raise UnusableTraffic(f"there is no {path}: run `make demo` first") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UnusableTraffic(f"{path} is not as the demo writes it ({reason})") from error
        traffic._check(path)
        return traffic

    def draw(self, chance: random.Random) -> dict[str, Any]:
        """The body of one POST /score: a user, and distinct candidates.

        Args:
            chance: decides.

        Returns:
            ``user_id``, ``item_ids`` and ``request_time``.
        """
        low = chance.random() < self.profile.low_share
        return {
            "user_id": chance.choice(self.low_users if low else self.other_users),
            "item_ids": chance.sample(self.item_ids, chance.choice(self.profile.sizes)),
            "request_time": self.request_time,
        }

    def _check(self, path: Path) -> None:
        most, share = max(self.profile.sizes), self.profile.low_share
        if most > len(self.item_ids):
            raise UnusableTraffic(
                f"CHOIRREC_LOAD_CANDIDATES asks for {most} candidates, {path} holds "
                f"{len(self.item_ids)} items: ask for fewer"
            )
        if (share > 0 and not self.low_users) or (share < 1 and not self.other_users):
            raise UnusableTraffic(
                f"CHOIRREC_LOAD_LOW_SHARE is {share}, {path} holds {len(self.low_users)} users of "
                f"levels {LOW_LEVELS} and {len(self.other_users)} others"
            )


def check_address(url: str) -> None:
    """Refuse to send load to another machine by accident.

    Raises:
        UnusableTraffic: when the URL does not lead to loopback.
    """
    host = urlsplit(url).hostname or ""
    if not _is_loopback(host):
        raise UnusableTraffic(f"{url} is not on this machine; if you mean it, say --host {url}")


def fault(status: int, body: bytes, asked: Sequence[str]) -> str | None:
    """What is wrong with an answer of POST /score.

    Args:
        status: of the response; 0: there was none.
        body: its bytes.
        asked: the candidates, in the order in which they were asked for.

    Returns:
        The fault in a few words, the same words for the same kind of fault; None: it is right.
    """
    if status != 200:
        return f"status {status}, expected 200"
    try:
        answer = json.loads(body)
        items, scores = answer["item_ids"], answer["scores"]
    except (ValueError, KeyError, TypeError):
        return "the body is not an answer of POST /score"
    if items != list(asked):
        return "item_ids are not the candidates in their order"
    if not isinstance(scores, list) or len(scores) != len(asked):
        return "there is not one score per candidate"
    if not all(_is_probability(score) for score in scores):
        return "a score is not a finite number from 0 to 1"
    return None


def _read(
    environment: Mapping[str, str], name: str, default: Any, parse: Any, expected: str
) -> Any:
    text = environment.get(name)
    if not text:
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise UnusableTraffic(f"{name} is {text!r}, expected {expected}") from error


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) < 1:
        raise ValueError(text)
    return sizes


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_probability(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= 1
