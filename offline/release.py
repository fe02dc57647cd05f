"""Release: a trained model into the repository, a cut's records into Redis."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from model.bundle import BrokenBundle, Manifest, open_bundle
from model.codebooks import Codebooks
from model.encoder import EncoderBlock
from model.generation import Generation
from model.golden import PriorSnapshot
from model.network.choirrec import ChoirRec
from model.records import GroupRecord, UserRecord, schema_digest
from model.repository import Repository
from model.residuals import ResidualReference
from model.spec import feature_contract
from offline.artefacts import code_digest
from offline.distillation import mean_alpha_distill
from offline.export import Ingredients, Report, export_bundle
from offline.generation_use import generations_in_use
from offline.generations import GroupSide
from offline.golden_requests import choose_requests
from offline.product import Product, ProductCut
from offline.progress import track
from offline.publish import Published, publish
from offline.redis_client import RedisClient
from offline.scratch import scratch_folder
from offline.triton import stands, write_triton

RELEASE_MODULES = ("offline.export", "offline.release")


@dataclass(frozen=True, eq=False)
class Records:
    """All records of one cut."""

    side: GroupSide
    users: Sequence[UserRecord]
    contract: str
    """The feature contract they were made by."""

    @property
    def generation(self) -> str:
        """The generation's name: its cut and the beginning of its contract."""
        day = datetime.fromtimestamp(self.side.as_of_s, UTC).strftime("%Y%m%d")
        return f"{day}-{self.contract[:8]}"


@dataclass(frozen=True)
class Release:
    """A bundle in the repository."""

    version: int
    manifest: Manifest
    new: bool
    """False: the repository held this very bundle already."""


def cut_records(product: Product, cut: ProductCut) -> Records:
    """Every user's and every group's record as of a cut."""
    spec = product.load_samples(product.grouping).spec
    side = GroupSide.load(cut.files(), spec)
    histories = product.histories()
    users = [
        histories.record(spec, user, cut.as_of_s, side.codes[user], int(side.depths[user]))
        for user in track(range(len(histories.user_ids)), "user records")
    ]
    encoder = EncoderBlock.load(cut.embeddings.folder)
    codebooks = Codebooks.load(cut.groups.folder)
    contract = feature_contract(schema_digest(), encoder.digest, codebooks.digest, spec.digest)
    return Records(side=side, users=users, contract=contract)


def release(
    product: Product,
    records: Records,
    repository: Repository,
    seed: int,
    triton: Path,
    report: Report,
) -> Release:
    """Export the trained model as the repository's next version, unless it stands there already.

    Args:
        product: whose model of this seed is exported.
        records: of the cut that the bundle's golden requests and prior snapshot come from.
        repository: where versions stand.
        seed: of the model.
        triton: where the version stands as a Triton repository too; written when it is new, or
            when none or another one stands there.
        report: what was measured of the model.

    Returns:
        The version.
    """
    released = _released(product, records, repository, seed, report)
    if released.new or not stands(released.version, triton):
        with scratch_folder("triton") as scratch:
            repository.fetch(released.version, scratch)
            write_triton(open_bundle(scratch), triton)
    return released


def _released(
    product: Product, records: Records, repository: Repository, seed: int, report: Report
) -> Release:
    trained = product.trained(product.method, seed)
    digest = _release_digest(trained.digest, records, report)
    for version, manifest in _readable(repository):
        if manifest.lineage.get("release") == digest:
            return Release(version, manifest, new=False)
    version = max(repository.versions(), default=0) + 1
    ingredients = _ingredients(product, records, seed, report, {"release": digest})
    with scratch_folder("export") as scratch:
        folder = scratch / str(version)
        manifest = export_bundle(ingredients, version, folder)
        repository.put(folder, version)
    return Release(version, manifest, new=True)


def _readable(repository: Repository) -> Iterator[tuple[int, Manifest]]:
    """Versions with their manifests, newest first, but for those of another format."""
    for version in reversed(repository.versions()):
        with suppress(BrokenBundle):
            yield version, repository.manifest(version)


def publish_records(
    records: Records, redis_url: str, keep: int = 2, state: str | None = None
) -> Published:
    """Write a cut's records to Redis as one generation.

    Args:
        records: of the cut.
        redis_url: the server.
        keep: newest complete generations that stay.
        state: where the desired state stands, which keeps what it names; None: in that Redis.

    Returns:
        What was done.
    """
    groups = list(records.side.groups.values())
    meta = Generation(
        name=records.generation,
        feature_contract=records.contract,
        as_of_s=records.side.as_of_s,
        written_at_s=int(datetime.now(UTC).timestamp()),
        users=len(records.users),
        groups=len(groups),
        items=0,
        id_chunks=0,
        complete=False,
    )
    in_use = partial(generations_in_use, state or redis_url)
    return publish(RedisClient(redis_url), meta, records.users, groups, keep=keep, in_use=in_use)


def _release_digest(trained: str, records: Records, report: Report) -> str:
    code = [code_digest(module) for module in RELEASE_MODULES]
    parts = [trained, records.contract, records.generation, report.digest, *code]
    return sha256("|".join(parts).encode()).hexdigest()


def _ingredients(
    product: Product,
    records: Records,
    seed: int,
    report: Report,
    lineage: Mapping[str, Any],
) -> Ingredients:
    samples = product.load_samples(product.grouping)
    cut = product.fitted_cut()
    model = cast(ChoirRec, product.model(product.method, seed))
    schema = product.tables().schema
    item_ids = [str(item) for item in product.tables().items()["item_id"].to_pylist()]
    return Ingredients(
        model=model,
        spec=samples.spec,
        config=product.preset.network,
        catalogue=samples.catalogue,
        encoder=EncoderBlock.load(cut.embeddings.folder),
        codebooks=Codebooks.load(cut.groups.folder),
        residuals=ResidualReference.load(cut.groups.folder),
        snapshot=snapshot(records),
        requests=choose_requests(
            samples.spec, records.users, records.side.groups, item_ids, records.side.as_of_s
        ),
        held_out=samples.test,
        lineage={
            "dataset": schema.name,
            "provenance": schema.provenance,
            "event": schema.event,
            "preset": product.preset.name,
            "losses": product.preset.losses,
            "groups": product.grouping.name,
            "seed": seed,
            "alpha_distill": mean_alpha_distill(product.training(product.method, seed)),
            "generation": records.generation,
            "artefacts": dict(_digests(product, seed)),
            **lineage,
        },
        metrics=product.metrics(product.method, seed),
        report=report,
    )


def snapshot(records: Records) -> PriorSnapshot:
    """The global and the level-1 priors of a cut."""
    kept: dict[tuple[int, ...], GroupRecord] = {
        prefix: group for prefix, group in records.side.groups.items() if len(prefix) < 2
    }
    return PriorSnapshot(records.generation, records.side.as_of_s, kept)


def _digests(product: Product, seed: int) -> Iterator[tuple[str, str]]:
    samples = product.samples(product.grouping)
    for artefact in (product.events(), samples, product.trained(product.method, seed)):
        yield artefact.stage, artefact.digest
