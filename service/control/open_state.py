"""Opening the state store that the setting names: a Redis by its URL, else a folder."""

from pathlib import Path

from service.control.file_state import FileState
from service.control.redis_state import RedisState
from service.control.state_store import StateStore

_REDIS = ("redis://", "rediss://", "unix://")


def open_state(place: str) -> StateStore:
    """The state store of a place; nothing is connected yet.

    Args:
        place: ``redis://…``, ``rediss://…``, ``unix://…``, or the path of a folder.

    Raises:
        ValueError: when it is neither, or the URL says what it may not.
    """
    if place.startswith(_REDIS):
        try:
            return RedisState(place)
        except ValueError as error:
            raise ValueError(f"CHOIRREC_STATE: {error}") from error
    if "://" in place:
        raise ValueError(f"CHOIRREC_STATE {place!r}, expected redis://host:port/0 or a folder")
    return FileState(Path(place))
