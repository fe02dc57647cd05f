"""Pins: which bundle a version number means, by what all workers hold under it."""

import logging
from collections.abc import Mapping, Sequence

from model.desired import Desired
from service.control.convergence import digests, verdicts
from service.lifecycle.states import ReplicaState

_log = logging.getLogger("choirrec")


class Pins:
    """Finds the bundles that a document does not tell yet.

    A promoted version is pinned as it is activated. The first champion cannot be: nobody holds it
    when the first document is written. What the repository says does not count, for it may change
    before workers load, or while they do.
    """

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._disputed: Mapping[int, tuple[str, ...]] = {}

    def missing(self, desired: Desired, replicas: Sequence[ReplicaState]) -> Mapping[int, str]:
        """The digests that are to be written down.

        Versions under which workers hold different bundles are left out, and logged once.

        Args:
            desired: the present document.
            replicas: all that report.

        Returns:
            By version that every worker holds. Empty while a candidate is prepared, whose
            revision stands until its verdict.
        """
        found = {} if desired.candidate else _held(desired, replicas)
        disputed = {version: held for version, held in found.items() if len(held) > 1}
        if disputed != self._disputed:
            for version, held in disputed.items():
                _log.warning(
                    "workers hold different bundles as version %d, by digest %s; do all replicas "
                    "read one repository?",
                    version,
                    ", ".join(held),
                )
        self._disputed = disputed
        return {version: held[0] for version, held in found.items() if len(held) == 1}


def _held(desired: Desired, replicas: Sequence[ReplicaState]) -> dict[int, tuple[str, ...]]:
    """By version that is not pinned, and that every worker has ready: the digests."""
    found = {}
    for version in sorted({target.version for target in desired.resident} - set(desired.bundles)):
        targets = [target for target in desired.resident if target.version == version]
        said = [verdict for target in targets for verdict in verdicts(replicas, target)]
        if all(verdict.ready for verdict in said):
            found[version] = digests(said)
    return found
