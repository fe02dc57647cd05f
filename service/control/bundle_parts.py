"""Reference sketches and evaluations of bundles, read for the guards."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from model.evaluation import EVALUATION_FILE, MAX_EVALUATION_BYTES, Evaluation
from model.manifest import BrokenBundle
from model.reference import REFERENCE_FILE, ReferenceSketch
from model.repository import Repository, UnknownVersion
from service.lifecycle.private_store import kept_part

REPOSITORY_TIMEOUT_S = 10.0
"""Time for one small file."""
MAX_REFERENCE_BYTES = 2**20

_Part = TypeVar("_Part")


class Unreadable(LookupError):
    """A part of a bundle that cannot be read now: why."""


class BundleParts:
    """Reads small parts of bundles; what was read once is kept, since versions never change.

    What the repository has lost is read from this machine's own copy, which was verified.
    """

    def __init__(self, repository: Repository, store: Path) -> None:
        """Name both places; nothing is read yet.

        Args:
            repository: where versions stand.
            store: folder of the private copies.
        """
        self._repository = repository
        self._store = store
        self._references: dict[int, ReferenceSketch] = {}

    async def evaluation(self, version: int) -> Evaluation:
        """What was measured of a version's model.

        Raises:
            Unreadable: when it cannot be had.
        """
        return await self._read(
            version, EVALUATION_FILE, MAX_EVALUATION_BYTES, Evaluation.from_json
        )

    async def reference(self, version: int) -> ReferenceSketch:
        """How a version's scores and alpha_fusion lay when it was born.

        Raises:
            Unreadable: when it cannot be had.
        """
        if version not in self._references:
            self._references[version] = await self._read(
                version, REFERENCE_FILE, MAX_REFERENCE_BYTES, ReferenceSketch.from_json
            )
        return self._references[version]

    async def _read(
        self, version: int, name: str, most_bytes: int, parse: Callable[[str], _Part]
    ) -> _Part:
        def read() -> _Part:
            try:
                found = self._repository.read(version, name, most_bytes)
            except (UnknownVersion, OSError):
                kept = kept_part(self._store, version, name)
                if kept is None:
                    raise
                found = kept
            return parse(found.decode())

        try:
            async with asyncio.timeout(REPOSITORY_TIMEOUT_S):
                return await asyncio.to_thread(read)
        except (UnknownVersion, BrokenBundle, ValueError) as error:
            raise Unreadable(f"{name} of model version {version}: {error}") from error
        except TimeoutError as error:
            raise Unreadable(
                f"{name} of model version {version}: the repository did not answer within "
                f"{REPOSITORY_TIMEOUT_S:g} s"
            ) from error
        except OSError as error:
            raise Unreadable(f"{name} of model version {version}: {error}") from error
