"""The product: the groups and the model that builds train, publish and report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from model.encoder import EncoderBlock
from offline.aligned_blocks import needs_blocks, write_aligned_blocks
from offline.artefacts import Artefact, Store
from offline.cuts import Cut, Cuts
from offline.encoders import EncoderChoice
from offline.groupings import PROFILES, Grouping
from offline.histories import epoch_s
from offline.methods.registry import ALIGNED
from offline.pipeline import Dataset, Pipeline
from offline.presets import Preset
from offline.regrouping import Grouped
from offline.rules import ConfigError
from offline.writers.selection import provenance
from offline.writers.settings import WriterSettings
from offline.writers.writer import TEMPLATE

GROUPINGS: Mapping[str, Grouping] = {one.name: one for one in (ALIGNED, PROFILES)}
"""What a product may rest on, by the names that the command line knows."""
_METHODS = {ALIGNED: "choirrec_aligned", PROFILES: "choirrec"}


@dataclass(frozen=True)
class ProductCut(Grouped):
    """A generation of the product, with the vectors that decide its groups."""

    embeddings: Artefact
    """``embeddings.npy`` and the encoder block."""


class Product(Pipeline):
    """A pipeline whose model and generations rest on one grouping, from training to Redis."""

    def __init__(
        self,
        store: Store,
        dataset: Dataset,
        preset: Preset,
        grouping: Grouping = ALIGNED,
        writer: WriterSettings | None = None,
        encoder: EncoderChoice | None = None,
    ) -> None:
        super().__init__(store, dataset, preset, writer, encoder)
        self.grouping = grouping
        self.method = _METHODS[grouping]
        """Name of the method that is trained."""

    def fitted_cut(self) -> ProductCut:
        """The generation that training reads; encoder block and codebooks are fitted at it."""
        if self.grouping == PROFILES:
            return _product_cut(self.training_cut())
        found, vectors = self.grouped(ALIGNED), cast(Artefact, self._vectors(ALIGNED))
        return ProductCut(found.as_of_s, found.groups, found.priors, vectors)

    def served_cut(self, moment: datetime | None = None) -> ProductCut:
        """A generation to publish, by the frozen encoder block and codebooks.

        Args:
            moment: the cut, UTC without a zone; None: where the test starts.

        Returns:
            The cut. Only events strictly before its second count.

        Raises:
            ConfigError: when the cut is before training or after the log's end.
        """
        if self.grouping == PROFILES:
            return _product_cut(self.serving_cut(moment))
        split = self.tables().schema.split
        cut = (moment or split.test_start).replace(microsecond=0)
        if not split.train_start <= cut <= split.test_end:
            raise ConfigError(
                f"cut {cut.isoformat()}: expected {split.train_start.isoformat()} (where training "
                f"starts) to {split.test_end.isoformat()} (where the log ends), in UTC"
            )
        fitted, cuts = self.fitted_cut(), self._cuts()
        vectors = self._aligned_blocks(cut, fitted.embeddings)
        # Of a fitted cut its groups alone are read, so that one without profiles will do.
        groups = cuts.groups(vectors, cast(Cut, fitted))
        return ProductCut(epoch_s(cut), groups, cuts.priors(cut, groups), vectors)

    def profiles(self) -> Artefact:
        """The profiles as of the training cut, for people to read.

        Aligned groups come from the same facts, not from these texts; so they are written when
        somebody asks for them.
        """
        if self.grouping == PROFILES:
            return self.training_cut().profiles
        texts = _Texts(self.store, self.events(), self.preset, self.writer)
        return texts.at(self.tables().schema.split.train_start)

    def _vectors(self, grouping: Grouping) -> Artefact | None:
        """As any pipeline's; aligned ones of very many users block by block."""
        if grouping.kind == "aligned" and needs_blocks(self.tables()):
            return self._aligned_blocks(self.tables().schema.split.train_start, None)
        return super()._vectors(grouping)

    def _aligned_blocks(self, cut: datetime, fitted: Artefact | None) -> Artefact:
        """Aligned vectors as of a cut, by the encoder block of fitted ones if these are given."""

        def build(out: Path) -> None:
            block = EncoderBlock.load(fitted.folder) if fitted else None
            write_aligned_blocks(self.tables(), cut, self.encoder.open(self.store), out, block)

        return self.store.make(
            "aligned",
            build,
            {"encoder": self.encoder.decides, "cut": cut.isoformat()},
            inputs=(self.events(), *((fitted,) if fitted else ())),
            code=("offline.aligned_blocks", *self.encoder.code),
            resumable=True,
        )


def choose_grouping(asked: str | None, writer: WriterSettings) -> Grouping:
    """The grouping that a command rests on.

    Args:
        asked: a name of ``GROUPINGS``; None: aligned, unless a language model writes profiles,
            whose texts only groups of profiles read.
        writer: who writes profiles.

    Returns:
        The grouping.

    Raises:
        ConfigError: when aligned groups are asked for and a language model, which they would not
            read.
    """
    by_model = writer.writer != TEMPLATE
    if by_model and asked == ALIGNED.name:
        raise ConfigError(
            f"--groups {asked} with --writer {writer.writer}: aligned groups read facts and no"
            " text that a language model wrote, expected --groups profiles (or neither, for the"
            " same); for names of groups alone, groups report has --card-writer"
        )
    return GROUPINGS[asked] if asked else PROFILES if by_model else ALIGNED


class _Texts(Cuts):
    """Profiles alone: nothing is embedded."""

    def at(self, moment: datetime) -> Artefact:
        """The template's profiles as of a moment."""
        return self.store.make(
            "profiles",
            lambda out: self._profiles(moment, out),
            {"cut": moment.isoformat(), "writer": asdict(provenance(self.writer))},
            inputs=(self.events,),
        )


def _product_cut(cut: Cut) -> ProductCut:
    return ProductCut(cut.as_of_s, cut.groups, cut.priors, cut.embeddings)
