"""Targets that may be asked for: a version of the repository with a generation that fits it."""

import asyncio

from model.bundle import BrokenBundle
from model.desired import BadDesired, Target
from model.repository import Repository, UnknownVersion
from service.errors import LoadRefused
from service.features.store import FeatureStore, StoreUnavailable
from service.lifecycle.generations import choose_generation

REPOSITORY_TIMEOUT_S = 30.0
"""Time for the repository to tell its versions and one manifest."""


class Targets:
    """Looks into the repository and the feature store before anything is asked of workers."""

    def __init__(self, repository: Repository, store: FeatureStore) -> None:
        """Name the places; nothing is read yet.

        Args:
            repository: where bundles stand.
            store: holds the generations.
        """
        self._repository = repository
        self._store = store

    async def choose(
        self, version: int | None, generation: str | None, contract: str | None = None
    ) -> Target:
        """The target that was asked for, with what was left out filled in.

        Args:
            version: the model version; None: the newest complete one.
            generation: the generation; None: the newest complete one with the version's contract.
            contract: the version's feature contract, where workers hold it already; the repository
                is not asked then. None: nobody holds it.

        Raises:
            LoadRefused: when there is none, or the two do not fit each other: exactly why.
        """
        chosen = version
        if chosen is None or contract is None:
            chosen, contract = await self._contract(version)
        try:
            fitting = await choose_generation(self._store, contract, generation)
            return Target(chosen, fitting.name)
        except StoreUnavailable as error:
            raise LoadRefused(f"no generation can be chosen: {error}") from error
        except BadDesired as error:
            raise LoadRefused(str(error)) from error

    async def _contract(self, version: int | None) -> tuple[int, str]:
        try:
            async with asyncio.timeout(REPOSITORY_TIMEOUT_S):
                return await asyncio.to_thread(self._look_up, version)
        except UnknownVersion as error:
            raise LoadRefused(str(error)) from error  # it names the version itself
        except BrokenBundle as error:
            raise LoadRefused(f"model version {version}: {error}") from error
        except TimeoutError as error:
            raise LoadRefused(
                f"repository {self._repository.url} did not answer within "
                f"{REPOSITORY_TIMEOUT_S:g} s"
            ) from error
        except OSError as error:
            raise LoadRefused(f"repository {self._repository.url}: {error}") from error

    def _look_up(self, version: int | None) -> tuple[int, str]:
        if version is None:
            versions = self._repository.versions()
            if not versions:
                raise LoadRefused(
                    f"repository {self._repository.url} holds no complete model version; export one"
                )
            version = versions[-1]
        return version, self._repository.manifest(version).feature_contract
