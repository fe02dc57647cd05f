"""A method: which network, of which size, reading which groups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.baselines.item_contexts import ItemContexts
from model.baselines.size_match import dense_parameters, matched_size
from model.network.contract import ConversionModel
from model.network.tables import EmbeddingTables, Lookups
from offline.groupings import NO_GROUPS, Grouping
from offline.models import lookups_of
from offline.presets import Preset
from offline.samples import Samples
from offline.saviorenc import EncodedItems

Floats = NDArray[np.float32]
Need = Literal["clicks", "user_vectors", "item_contexts", "encoded_items"]
Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Materials:
    """What a network is made from besides its sizes."""

    samples: Samples
    preset: Preset
    seed: int
    """Decides every initial value."""
    user_vectors: Floats | None = None
    """float32 ``[users + 1, W]`` profile vectors, row 0 zero; where the method needs them."""
    contexts: ItemContexts | None = None
    """Purchases before training by item; where the method needs them."""
    encoded_items: EncodedItems | None = None
    """Items encoded from their texts; where the method needs them."""

    def lookups(self) -> Lookups:
        """Where ids lead, rare ones out of vocabulary."""
        return lookups_of(self.samples)

    def given(self, part: Part | None, name: str) -> Part:
        """A part that the method says it needs.

        Raises:
            ValueError: when it was not given.
        """
        if part is None:
            raise ValueError(f"the method was given no {name}: name them in its ``needs``")
        return part


Build = Callable[..., ConversionModel]
"""``build(materials, config, **options)``; the module it stands in says what code it is."""


@dataclass(frozen=True)
class Method:
    """A named way to score."""

    name: str
    """In results: lower case, words joined by underscores."""
    title: str
    """In tables."""
    build: Build
    """Makes the network."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of ``build``; JSON values."""
    grouping: Grouping = NO_GROUPS
    """How the groups it reads came about."""
    permuted: bool = False
    """Whether those are permuted, by the model's seed."""
    matched: bool = True
    """Whether its tower is widened to ChoirRec's number of dense parameters."""
    needs: tuple[Need, ...] = ()
    """What else it reads."""

    def grouped(self, seed: int) -> Grouping:
        """The grouping that the method's model of a seed reads."""
        if self.grouping.kind == "user_rows":
            return replace(self.grouping, seed=seed)
        return replace(self.grouping, permutation=seed) if self.permuted else self.grouping

    def make(self, materials: Materials, reference: "Method") -> ConversionModel:
        """The network, its item rows begun from purchases before training.

        Args:
            materials: what it is made from.
            reference: the method whose dense parameters a matched tower is to have.
        """
        config = materials.preset.network
        if self.matched:
            dense = dense_parameters(lambda size: reference.build(materials, size), config)
            config = matched_size(
                lambda size: self.build(materials, size, **self.options), config, dense
            )
        model = self.build(materials, config, **self.options)
        if isinstance(tables := getattr(model, "tables", None), EmbeddingTables):
            tables.init_item_vectors(materials.samples.item_vectors)
        return model

    @property
    def module(self) -> str:
        """The module that makes it, whose code counts in what it made."""
        return self.build.__module__
