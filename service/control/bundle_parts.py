"""Reference sketches and evaluations of bundles, read for the guards."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from model.evaluation import EVALUATION_FILE, MAX_EVALUATION_BYTES, Evaluation
from model.manifest import BrokenBundle
from model.reference import REFERENCE_FILE, ReferenceSketch
from model.repository import AnotherBundle, Repository, UnknownVersion
from service.lifecycle.private_store import kept_part

REPOSITORY_TIMEOUT_S = 10.0
"""Time for one small file."""
MAX_REFERENCE_BYTES = 2**20

_Part = TypeVar("_Part")


class Unreadable(LookupError):
    """A part of a bundle that cannot be read now: why."""


class BundleParts:
    """Reads small parts of the bundles that serve, or will.

    A version that is pinned is read by the digest of its bundle: from the repository while that
    one stands there, else from this machine's own copy of it. Another bundle, which somebody has
    put under the number since, is never read in its place.
    """

    def __init__(self, repository: Repository, store: Path) -> None:
        """Name both places; nothing is read yet.

        Args:
            repository: where versions stand.
            store: folder of the private copies.
        """
        self._repository = repository
        self._store = store
        self._references: dict[str, ReferenceSketch] = {}
        """By digest: a number may be given to another bundle once nobody holds it."""

    async def evaluation(self, version: int, digest: str | None) -> Evaluation:
        """What was measured of a version's model.

        Args:
            version: the model version.
            digest: of the bundle that the number means; None: whatever the repository holds.

        Raises:
            Unreadable: when it cannot be had.
        """
        return await self._read(
            version, digest, EVALUATION_FILE, MAX_EVALUATION_BYTES, Evaluation.from_json
        )

    async def reference(self, version: int, digest: str | None) -> ReferenceSketch:
        """How a version's scores and alpha_fusion lay when it was born; kept, if pinned.

        Args:
            version: the model version.
            digest: of the bundle that the number means; None: whatever the repository holds.

        Raises:
            Unreadable: when it cannot be had.
        """
        if digest is not None and digest in self._references:
            return self._references[digest]
        found = await self._read(
            version, digest, REFERENCE_FILE, MAX_REFERENCE_BYTES, ReferenceSketch.from_json
        )
        if digest is not None:
            self._references[digest] = found
        return found

    async def _read(
        self,
        version: int,
        digest: str | None,
        name: str,
        most_bytes: int,
        parse: Callable[[str], _Part],
    ) -> _Part:
        def read() -> _Part:
            return parse(self._found(version, digest, name, most_bytes).decode())

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

    def _found(self, version: int, digest: str | None, name: str, most_bytes: int) -> bytes:
        try:
            return self._repository.read(version, name, most_bytes, digest)
        except (UnknownVersion, AnotherBundle, BrokenBundle, OSError) as error:
            if digest is None and isinstance(error, BrokenBundle):
                raise  # the copy may be of another bundle
            kept = kept_part(self._store, version, name, digest)
            if kept is None:
                raise
            return kept
