"""Newcomers: users without a record, grouped by the attributes that their request tells."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from model.assembly import unknown_user
from model.bundle import Bundle
from model.encoder import TEXTS, EncoderBlock, TextEncoder
from model.phrases import READING, read_phrases
from model.profile_text import TEMPLATE_VERSION, attribute_phrases, spell
from model.records import UserRecord
from model.spec import OOV, DiscreteField, FeatureSpec
from model.wordllama_encoder import WordLlamaEncoder
from service.errors import InvalidRequest

SECTION = "attributes"
"""The profile's only section that a request can tell."""
REMEMBERED = 4096
"""Newcomers kept, about 3 KiB each: few tell what nobody told before."""

Json = str | int | float | bool | None
"""A value of ``user_attributes``, as the caller sent it."""
Facts = Mapping[str, str | float | None]
Check = Callable[[str | float, str], str | float | None]
_Values = tuple[float | None, ...]
_Key = tuple[tuple[str, ...], tuple[int, ...], _Values]

_BOUND = 1e18
"""Continuous attributes of a data set are below it, so that no model was trained on others."""
_LARGEST_INTEGER = 10**64


class Newcomer(NamedTuple):
    """What stands in for the record of a user who has none."""

    record: UserRecord
    """Attributes and group_id; no purchases, no activity, no user id."""
    confidence: float
    """How sure the group_id is, 0 to 1 (``ResidualReference.confidence``)."""


class TextEncoders:
    """The text encoders that this process can run; each is loaded once, by whoever asks first."""

    def __init__(self) -> None:
        self._loaded: dict[str, TextEncoder] = {}

    def find(self, identity: str) -> TextEncoder | None:
        """The encoder of that identity; None when it cannot run here. Blocks while it loads."""
        if identity not in self._loaded and identity.startswith("wordllama/"):
            encoder = WordLlamaEncoder()
            self._loaded[encoder.identity] = encoder
        return self._loaded.get(identity)


class Newcomers:
    """Groups newcomers by one bundle's own encoder block and codebooks, as offline groups users."""

    def __init__(self, bundle: Bundle, encoders: TextEncoders) -> None:
        """Find the bundle's text encoder.

        Args:
            bundle: the opened bundle.
            encoders: what can run here.
        """
        block = bundle.grouping.encoder
        self._spec = bundle.spec
        self._checks = _checks(bundle.spec)
        self._grouping = bundle.grouping
        self._encoder = encoders.find(block.encoder_identity)
        self._known: OrderedDict[_Key, Newcomer] = OrderedDict()
        self.absence = _absence(block, self._encoder)
        """Why newcomers are answered as unknown users; None: they are grouped."""

    def stand_in(
        self, attributes: Mapping[str, Json] | None, place: str
    ) -> Callable[[], Newcomer] | None:
        """Check what a request tells of its user.

        Args:
            attributes: the request's ``user_attributes``.
            place: where the request stands in its body, for messages.

        Returns:
            What makes the newcomer if the user turns out to have no record; None when nothing is
            told, or when newcomers cannot be grouped here.

        Raises:
            InvalidRequest: naming attributes that the model does not have, or a value of a wrong
                type.
        """
        if attributes is None:
            return None
        facts = self._checked(attributes, f"{place}user_attributes")
        told = any(value is not None for value in facts.values())
        return (lambda: self.meet(facts)) if told and self.absence is None else None

    def meet(self, facts: Facts) -> Newcomer:
        """Group a newcomer.

        Args:
            facts: attributes by name, in the order of the spec, at least one of them known.

        Returns:
            The newcomer: the codes are those that offline gives a user known by these alone.

        Raises:
            RuntimeError: when newcomers cannot be grouped here.
        """
        phrases = attribute_phrases(facts)
        codes = tuple(field.code(_text(facts[field.name])) for field in self._spec.attributes)
        values = tuple(_number(facts[field.name]) for field in self._spec.continuous)
        # Phrases and codes are of bounded size, whatever a caller tells.
        key = (phrases, codes, values)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        newcomer = self._grouped(phrases, codes, values)
        self._known[key] = newcomer
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return newcomer

    def _grouped(
        self, phrases: tuple[str, ...], attributes: tuple[int, ...], continuous: _Values
    ) -> Newcomer:
        codes_M, confidence = self._assign(phrases)
        has_group = codes_M[0] != self._spec.codes_per_level
        record = replace(
            unknown_user(self._spec, 0),
            attributes=np.array(attributes, np.int32),
            continuous=np.array(continuous, np.float32),  # None becomes NaN
            group_id=codes_M,
            prefix_depth=self._spec.levels if has_group else 0,
        )
        return Newcomer(record, confidence)

    def _assign(self, phrases: tuple[str, ...]) -> tuple[NDArray[np.int32], float]:
        """int32 ``[M]`` codes, and the confidence."""
        if self._encoder is None:
            raise RuntimeError(self.absence)
        block = self._grouping.encoder
        place = block.section_names.index(SECTION)
        vectors = np.zeros((1, *block.section_means.shape), np.float32)
        evidence = np.zeros((1, len(block.section_names)), np.float32)
        if block.reading == TEXTS:
            vectors[0, place], evidence[0, place] = self._encoder.encode([", ".join(phrases)])[0], 1
        else:
            vectors[0, place], evidence[0, place] = read_phrases(self._encoder, phrases)
        codes, confidence = self._grouping.assign(vectors, evidence)
        return codes[0], float(confidence[0])

    def _checked(self, attributes: Mapping[str, Json], place: str) -> Facts:
        """The attributes in the order of the spec; null and absent are the same."""
        if unknown := [repr(name)[:80] for name in attributes if name not in self._checks]:
            raise InvalidRequest(
                f"{place}: {', '.join(unknown[:5])}: this model's attributes are"
                f" {', '.join(self._checks) or 'none'}; leave out what it does not know"
            )
        facts: dict[str, str | float | None] = {}
        for name, check in self._checks.items():
            value = attributes.get(name)
            facts[name] = None if value is None else check(value, f"{place}.{name}")
        return facts


def _checks(spec: FeatureSpec) -> Mapping[str, Check]:
    """How a value is checked, by attribute, in the order of the profile."""
    discrete: dict[str, Check] = {f.name: partial(_as_text, f) for f in spec.attributes}
    return discrete | {field.name: _as_number for field in spec.continuous}


def _absence(block: EncoderBlock, encoder: TextEncoder | None) -> str | None:
    if encoder is None:
        return f"the bundle's text encoder {block.encoder_identity!r} cannot run here"
    if block.template_version != TEMPLATE_VERSION:
        return (
            f"the bundle's profiles are of template {block.template_version!r}, this build writes"
            f" {TEMPLATE_VERSION!r}"
        )
    if block.reading not in (TEXTS, READING):
        return f"the bundle reads profiles as {block.reading!r}, this build as {READING!r}"
    if SECTION not in block.section_names:
        return f"the bundle's profiles {list(block.section_names)} have no section {SECTION!r}"
    return None


def _as_text(field: DiscreteField, value: str | float, place: str) -> str | None:
    """A value of a discrete attribute; whole numbers are spelt as ids are.

    Text that is neither in words nor known from training tells nothing: None, as an empty cell.
    """
    if _is_whole(value) and abs(value) < _LARGEST_INTEGER:
        return str(value)
    if not isinstance(value, str):
        raise InvalidRequest(f"{place}: {_shown(value)}, expected text, a whole number or null")
    return value if spell(value) or field.code(value) != OOV else None


def _as_number(value: str | float, place: str) -> float:
    """A value of a continuous attribute, within what a data set can hold."""
    if isinstance(value, str | bool) or not -_BOUND < value < _BOUND:
        raise InvalidRequest(
            f"{place}: {_shown(value)}, expected a number between -{_BOUND:g} and {_BOUND:g}, or"
            " null"
        )
    return float(value)


def _is_whole(value: str | float) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: str | float) -> str:
    if _is_whole(value) and abs(value) >= _LARGEST_INTEGER:
        return "an integer of more than 64 digits"
    return repr(value)[:80]


def _text(value: str | float | None) -> str | None:
    return None if value is None else str(value)


def _number(value: str | float | None) -> float | None:
    return None if value is None else float(value)
