"""A small trained-looking ChoirRec with everything that a bundle is made of."""

from collections.abc import Mapping

import numpy as np
import torch

from model.assembly import Catalogue
from model.codebooks import Codebooks
from model.encoder import EncoderBlock
from model.golden import PriorSnapshot
from model.losses import LossConfig
from model.network.choirrec import ChoirRec
from model.records import GroupRecord, UserRecord
from model.residuals import ResidualReference
from model.spec import FIRST_CODE, item_key
from offline.export import Ingredients, Report
from offline.golden_requests import choose_requests
from tests.evaluations import EVALUATION, PAGE
from tests.records import WRITTEN_AT_S, group_record, user_record
from tests.synthetic import TINY, World, world

WIDTH = 8
ITEM_IDS = tuple(f"i{number}" for number in range(30))


def users() -> list[UserRecord]:
    """Users of all activity levels, prefix depths and history lengths."""
    return [user_record(number, purchases=number % 12) for number in range(24)]


def groups() -> Mapping[tuple[int, ...], GroupRecord]:
    """The prior of every prefix that the users have."""
    prefixes = {user.prefix for user in users()} | {()} | {(code,) for code in range(4)}
    return {prefix: group_record(prefix) for prefix in sorted(prefixes)}


def network(drawn: World, seed: int = 0) -> ChoirRec:
    """A network none of whose weights is zero, as if it had been trained."""
    model = ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig(), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for table in model.modules():
            if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None:
                table.weight[table.padding_idx] = 0.0
    return model


def catalogue(drawn: World) -> Catalogue:
    """The catalogue of the world's items under ids."""
    keys = np.sort(np.array([item_key(item) for item in ITEM_IDS], np.uint64))
    return Catalogue(keys, drawn.lookups.item_codes[FIRST_CODE:].astype(np.int32))


def encoder_block() -> EncoderBlock:
    """A block of two sections."""
    means = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
    return EncoderBlock("1", "test encoder", ("attributes", "recent"), (2.0, 0.5), means)


def ingredients(seed: int = 0) -> Ingredients:
    """Everything for one bundle."""
    drawn = world(items=len(ITEM_IDS), seed=seed)
    spec = drawn.spec
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(spec.levels, spec.codes_per_level, WIDTH)).astype(np.float32)
    level_1 = {prefix: record for prefix, record in groups().items() if len(prefix) <= 1}
    return Ingredients(
        model=network(drawn, seed),
        spec=spec,
        config=TINY,
        catalogue=catalogue(drawn),
        encoder=encoder_block(),
        codebooks=Codebooks(centroids),
        residuals=ResidualReference(
            np.tile(np.linspace(0, 9, 101, dtype=np.float32), (spec.levels, 1))
        ),
        snapshot=PriorSnapshot("2024-01-01", WRITTEN_AT_S, level_1),
        requests=choose_requests(spec, users(), groups(), ITEM_IDS, WRITTEN_AT_S),
        held_out=drawn.split,
        lineage={"provenance": "Made-up rows.", "seed": seed},
        metrics={"gauc_low": 0.5, "gauc_overall": 0.6, "gauc_levels": [0.5, None, 0.5, 0.5, 0.5]},
        report=Report(EVALUATION, PAGE, "d" * 64),
    )
