"""The local copy: the last document that a replica followed, for the day the store is gone."""

import logging
from hashlib import sha256
from pathlib import Path

from model.desired import BadDesired, Desired
from model.whole_file import whole_file

_log = logging.getLogger("choirrec")


class LocalCopy:
    """One file in the replica's private store, readable by its owner alone."""

    def __init__(self, folder: Path, place: str) -> None:
        """Name the file.

        Args:
            folder: the replica's private store.
            place: where the shared state stands. Another place has another copy, so that a disk
                that is moved between deployments brings no foreign revisions along.
        """
        self._path = folder / f"desired-{sha256(place.encode()).hexdigest()[:12]}.json"

    def read(self) -> Desired | None:
        """The copy; None when there is none, or none that can be read."""
        try:
            return Desired.from_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, BadDesired) as error:
            _log.warning("the copy of the desired state, %s, is passed over: %s", self._path, error)
            return None

    def write(self, desired: Desired) -> None:
        """Replace the copy; a disk that refuses is told in the log and stops nothing."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with whole_file(self._path) as partial:
                partial.touch(mode=0o600)
                partial.write_text(desired.to_json())
        except OSError as error:
            _log.warning("no copy of the desired state is kept: %s", error)
