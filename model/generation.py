"""A generation of records: how its keys are spelt and what it says of itself."""

import json
import re
from dataclasses import asdict, dataclass

from model.records import prefix_name

NAMESPACE = "choirrec"
COMPLETE_GENERATIONS = f"{NAMESPACE}:generations"
"""A Redis list: the names of complete generations, newest last. No pointer: which one serves
is said by the desired state alone."""
BEGUN_GENERATIONS = f"{NAMESPACE}:generations:begun"
"""A Redis set: every generation of which any key may exist, complete or not, so that what a
killed publish left behind is found without looking through all keys."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Generation:
    """What a generation says of itself, as JSON under its ``meta`` key."""

    name: str
    feature_contract: str
    """A bundle must carry the same one to read these records."""
    as_of_s: int
    """The cut: no event at or after it is in any record; ages of group sequences count from it."""
    written_at_s: int
    users: int
    groups: int
    items: int
    """Items newer than the bundle that was published with."""
    id_chunks: int
    """Keys ``ids:0`` .. hold the generation's own list of keys, for its removal."""
    complete: bool
    """Set once every record was read back and found intact."""

    def to_json(self) -> str:
        """JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Generation":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: when the text is no such document.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not a generation's meta document: {error}") from error


def check_name(name: str) -> str:
    """A generation name that is safe inside a key.

    Raises:
        ValueError: for anything but 1 to 64 letters, digits, '.', '_' and '-'.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"generation {name!r}: expected 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


def user_key(generation: str, user_id: str) -> str:
    """Key of a user's record; no braces, so that a Cluster spreads the users."""
    return f"{NAMESPACE}:{generation}:u:{user_id}"


def group_key(generation: str, prefix: tuple[int, ...]) -> str:
    """Key of a prefix group's record."""
    return f"{NAMESPACE}:{generation}:g:{prefix_name(prefix)}"


def new_item_key(generation: str, item_id: str) -> str:
    """Key of a new item's record."""
    return f"{NAMESPACE}:{generation}:i:{item_id}"


def meta_key(generation: str) -> str:
    """Key of the generation's meta document."""
    return f"{NAMESPACE}:{generation}:meta"


def publisher_key(generation: str) -> str:
    """Key that holds the token of whoever publishes or removes the generation now."""
    return f"{NAMESPACE}:{generation}:publisher"


def id_list_key(generation: str, chunk: int) -> str:
    """Key of one chunk of the generation's own key list (a Redis list of keys)."""
    return f"{NAMESPACE}:{generation}:ids:{chunk}"
