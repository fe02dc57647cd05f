"""Newcomers: grouped by what a request tells of them, and refused by name when it is wrong."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bundle import Bundle, open_bundle
from model.phrases import READING, read_phrases
from model.profile_text import UserFacts, render
from offline.rules import CONTINUOUS_BOUND
from service import newcomers
from service.errors import InvalidRequest
from service.newcomers import Json, Newcomer, Newcomers, TextEncoders
from tests.fixtures.bundles import SPEC
from tests.fixtures.newcomers import newcomer_world

ABSENT = "minilm/never-here"
values: dict[str, st.SearchStrategy[Json]] = {
    "age": st.one_of(st.none(), st.sampled_from(["18", "30", "50"]), st.text(), st.integers()),
    "city": st.one_of(st.none(), st.sampled_from(["a", "b"]), st.text(max_size=200)),
    "income": st.one_of(
        st.none(),
        st.floats(-2.0e18, 2.0e18, allow_nan=False),
        st.integers(-(2**70), 2**70),
    ),
}
told = st.fixed_dictionaries({}, optional=values)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose encoder runs here."""
    folder = tmp_path_factory.mktemp("newcomers") / "1"
    newcomer_world(1, folder)
    return open_bundle(folder)


@pytest.fixture(scope="module")
def encoders() -> TextEncoders:
    """What runs here, loaded once."""
    return TextEncoders()


@pytest.fixture(scope="module")
def desk(bundle: Bundle, encoders: TextEncoders) -> Newcomers:
    """Where newcomers of that bundle are grouped."""
    return Newcomers(bundle, encoders)


def _met(desk: Newcomers, attributes: dict[str, Json]) -> Newcomer:
    stand_in = desk.stand_in(attributes, "")
    assert stand_in is not None
    return stand_in()


def _tells(value: Json) -> bool:
    """Whether it is a number, or text with a letter or a digit."""
    return any(map(str.isalnum, value)) if isinstance(value, str) else value is not None


def test_newcomer_has_attributes_and_group_and_nothing_else(desk: Newcomers) -> None:
    """The model reads what was told, and neither a history nor an identity that nobody gave."""
    record, confidence = _met(desk, {"age": "30", "city": "nowhere", "income": 12})
    assert record.attributes.tolist() == [3, 1]
    assert record.continuous.tolist() == [12.0]
    assert record.user_id == ""
    assert (record.purchases, record.window_purchases, len(record.purchase_items)) == (0, 0, 0)
    assert record.prefix == tuple(record.group_id.tolist())
    assert all(0 <= code < SPEC.codes_per_level for code in record.prefix)
    assert 0 < confidence <= 1


def test_what_is_null_or_left_out_is_missing(desk: Newcomers) -> None:
    """A caller may send every field it has, empty ones too."""
    one, two = _met(desk, {"city": "a"}), _met(desk, {"city": "a", "age": None, "income": None})
    assert one is two
    assert one.record.attributes.tolist() == [0, 2]
    assert np.isnan(one.record.continuous).all()


@given(told)
def test_any_told_value_gives_a_fitting_record_or_a_reason(
    desk: Newcomers, attributes: dict[str, Json]
) -> None:
    """Whatever a caller tells, it is grouped within the model's codes or refused with its place."""
    try:
        stand_in = desk.stand_in(attributes, "")
    except InvalidRequest:
        return
    if stand_in is None:
        assert not any(map(_tells, attributes.values()))
        return
    record, confidence = stand_in()
    sizes = [field.size for field in SPEC.attributes]
    assert all(0 <= code < size for code, size in zip(record.attributes, sizes, strict=True))
    assert not np.isinf(record.continuous).any()
    assert 0 <= confidence <= 1


@given(told.filter(lambda attributes: any(map(_tells, attributes.values()))))
def test_group_is_that_of_the_text_and_of_nobody_before(
    bundle: Bundle, encoders: TextEncoders, desk: Newcomers, attributes: dict[str, Json]
) -> None:
    """Neither the newcomers met before nor the order of the fields changes a group."""
    try:
        again = _met(desk, dict(reversed(attributes.items())))
    except InvalidRequest:
        return
    fresh = _met(Newcomers(bundle, encoders), attributes)
    assert fresh.record.group_id.tolist() == again.record.group_id.tolist()
    assert fresh.confidence == again.confidence


REFUSED: list[tuple[str, dict[str, Json], str]] = [
    ("unknown name", {"agee": "30"}, r"user_attributes: 'agee': .* are age, city, income; leave"),
    ("several", {f"x{n}": 1 for n in range(9)}, r"'x0', 'x1', 'x2', 'x3', 'x4': this model's"),
    ("true for text", {"age": True}, r"user_attributes\.age: True, expected text"),
    ("fraction for text", {"city": 1.5}, r"user_attributes\.city: 1\.5, expected text"),
    ("endless integer", {"age": 10**70}, r"user_attributes\.age: an integer of more than 64"),
    ("text for number", {"income": "12"}, r"user_attributes\.income: '12', expected a number"),
    ("true for number", {"income": True}, r"user_attributes\.income: True, expected a number"),
    ("beyond data sets", {"income": 1e18}, r"income: 1e\+18, expected a number between -1e\+18"),
    ("float32, but endless", {"income": -3e38}, r"user_attributes\.income: -3e\+38, expected"),
    ("beyond float64", {"income": 10**400}, r"user_attributes\.income: an integer of more"),
]


@pytest.mark.parametrize(
    ("attributes", "reason"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_wrong_attributes_are_refused_by_name(
    desk: Newcomers, attributes: dict[str, Json], reason: str
) -> None:
    """The caller learns which attribute is wrong, and what the model expects."""
    with pytest.raises(InvalidRequest, match=reason):
        desk.stand_in(attributes, "")
    with pytest.raises(InvalidRequest, match=r"^requests\[3\]\.user_attributes"):
        desk.stand_in(attributes, "requests[3].")


def test_whole_number_is_text_as_ids_are(desk: Newcomers) -> None:
    """An attribute whose values look like numbers may be sent as numbers."""
    assert _met(desk, {"age": 30}) is _met(desk, {"age": "30"})


def test_nothing_told_leaves_the_user_unknown(desk: Newcomers) -> None:
    """An empty object is no group."""
    assert desk.stand_in(None, "") is None
    assert desk.stand_in({}, "") is None
    assert desk.stand_in({"age": None}, "") is None


@pytest.mark.parametrize("text", ["", " ", "\t", "?", "--", "/"])
def test_text_that_tells_nothing_is_missing(desk: Newcomers, text: str) -> None:
    """An empty field of a form is no fact: it neither groups a user nor changes a group."""
    assert desk.stand_in({"age": text}, "") is None
    assert _met(desk, {"age": text, "city": "a"}) is _met(desk, {"city": "a"})


def test_a_sign_that_training_knows_is_a_value(bundle: Bundle, encoders: TextEncoders) -> None:
    """Where a data set says "+" and means something, a newcomer may say it too."""
    age, city = bundle.spec.attributes
    signs = replace(bundle.spec, attributes=(replace(age, values=(*age.values, "+")), city))
    record, _ = _met(Newcomers(replace(bundle, spec=signs), encoders), {"age": "+"})
    assert record.attributes[0] == signs.attributes[0].code("+")


def test_numbers_are_bounded_as_those_of_data_sets() -> None:
    """What a table may not say, a request may not say either."""
    assert newcomers._BOUND == CONTINUOUS_BOUND


def test_repeated_newcomer_is_not_encoded_again(
    bundle: Bundle, encoders: TextEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A popular combination costs a look-up, and memory stays bounded."""
    monkeypatch.setattr(newcomers, "REMEMBERED", 2)
    desk = Newcomers(bundle, encoders)
    first = _met(desk, {"age": "18"})
    _met(desk, {"age": "30"})
    assert _met(desk, {"age": "18"}) is first
    _met(desk, {"age": "50"})
    assert _met(desk, {"age": "18"}) is first
    other = _met(desk, {"age": "30"})
    assert len(desk._known) == 2
    assert other.record.attributes.tolist() == [3, 0]


def test_huge_value_is_not_kept(desk: Newcomers) -> None:
    """A caller cannot fill the memory with long texts."""
    _met(desk, {"city": "x" * 1_000_000})
    assert max(len(text) for text, _, _ in desk._known) < 1000


def test_absent_encoder_is_named_and_attributes_are_still_checked(
    bundle: Bundle, encoders: TextEncoders
) -> None:
    """A service that cannot group newcomers says why; what it refuses does not depend on that."""
    block = replace(bundle.grouping.encoder, encoder_identity=ABSENT)
    other = replace(bundle, grouping=replace(bundle.grouping, encoder=block))
    desk = Newcomers(other, encoders)
    assert desk.absence == f"the bundle's text encoder '{ABSENT}' cannot run here"
    assert desk.stand_in({"age": "30"}, "") is None
    with pytest.raises(InvalidRequest):
        desk.stand_in({"agee": "30"}, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"template_version": "template-0"}, "of template 'template-0', this build writes"),
        ({"section_names": ("a", "b", "c", "d", "e")}, "have no section 'attributes'"),
        ({"encoder_identity": "wordllama/other/64/0"}, "'wordllama/other/64/0' cannot run here"),
    ],
)
def test_block_of_other_texts_is_not_used(
    bundle: Bundle, encoders: TextEncoders, change: dict[str, Any], reason: str
) -> None:
    """A group that offline would not have given is worse than none."""
    block = replace(bundle.grouping.encoder, **change)
    desk = Newcomers(replace(bundle, grouping=replace(bundle.grouping, encoder=block)), encoders)
    assert desk.absence is not None
    assert reason in desk.absence


def test_text_is_that_of_the_profile(desk: Newcomers) -> None:
    """Online and offline read the same words: the profile's own attributes section."""
    _met(desk, {"income": 12.3456, "age": "30"})
    wanted = render(UserFacts({"age": "30", "city": None, "income": 12.3456})).attributes
    assert wanted in {", ".join(phrases) for phrases, _, _ in desk._known}


def test_service_keeps_its_own_logging() -> None:
    """Importing the service sets up no logger, whatever its libraries do."""
    code = (
        "import json, logging, service.worker;"
        "print(json.dumps([len(logging.root.handlers), logging.root.level]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(found.stdout) == [0, logging.WARNING]


def test_bundle_read_by_phrases_groups_by_phrases(
    tmp_path: Path, encoders: TextEncoders, bundle: Bundle
) -> None:
    """Where offline reads profiles phrase by phrase, so does the service, bit for bit."""
    newcomer_world(1, tmp_path / "1", reading=READING)
    desk = Newcomers(open_bundle(tmp_path / "1"), encoders)
    record, confidence = _met(desk, {"age": "30", "city": "a"})
    encoder = encoders.find(bundle.grouping.encoder.encoder_identity)
    assert encoder is not None
    block = bundle.grouping.encoder
    sections = np.zeros((1, *block.section_means.shape), np.float32)
    evidence = np.zeros((1, len(block.section_names)), np.float32)
    sections[0, 0], evidence[0, 0] = read_phrases(encoder, ["age 30", "city a"])
    codes, sure = bundle.grouping.assign(sections, evidence)
    assert record.group_id.tolist() == codes[0].tolist()
    assert confidence == sure[0]


def test_bundle_of_an_unknown_reading_groups_nobody(tmp_path: Path, encoders: TextEncoders) -> None:
    """A bundle that reads profiles in a way unknown here is served, without newcomers' groups."""
    newcomer_world(1, tmp_path / "1", reading="phrases-9")
    desk = Newcomers(open_bundle(tmp_path / "1"), encoders)
    assert desk.absence == "the bundle reads profiles as 'phrases-9', this build as 'phrases-1'"
