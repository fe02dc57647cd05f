"""Users without a record: grouped online as offline would, flagged, counted, never refused."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.bundle import Bundle, open_bundle
from model.codebooks import Codebooks
from model.encoder import EncoderBlock
from model.generation import group_key
from model.residuals import ResidualReference
from model.wordllama_encoder import WordLlamaEncoder
from offline.alignment import write_aligned
from offline.embeddings import FILE_NAME, write_embeddings
from offline.engine import connect
from offline.events import CanonicalTables
from offline.groupings import PROFILES
from offline.methods.registry import ALIGNED
from offline.profiles import ProfileSources, build_profiles
from offline.release import publish_records
from service.newcomers import Json, Newcomers, TextEncoders
from tests.fixtures.bundles import ITEMS, QUIET_USER, World, publish
from tests.fixtures.newcomers import newcomer_world
from tests.fixtures.redis import RedisServer, running_redis
from tests.fixtures.services import Client, LiveService, live_service, service_process, settings_for
from tests.fixtures.tiny_log import TinyRelease, tiny_release

SOURCES = ("users", "items", "purchases", "searches")
COLUMNS: dict[str, pa.DataType] = {
    "user_id": pa.string(),
    "age_band": pa.string(),
    "city": pa.string(),
    "income": pa.float64(),
}
ASKED_S = 1_700_004_000
ABOUT_MIA: dict[str, Json] = {"age": "30", "city": "b", "income": 12.0}
STEP = 'choirrec_ladder_steps_total{step="newcomer_and_group"}'
FLAG = 'choirrec_degraded_total{reason="newcomer"}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a repository and a private store."""
    return tmp_path_factory.mktemp("newcomers")


@pytest.fixture(scope="module")
def world(home: Path) -> World:
    """Version 1, whose text encoder runs here."""
    return newcomer_world(1, home / "repository" / "1")


@pytest.fixture(scope="module")
def live(home: Path, redis_server: RedisServer, world: World) -> Iterator[LiveService]:
    """A service that serves version 1 with generation g1."""
    publish(world, redis_server.client(), "g1")
    with live_service(settings_for(home, redis_server.url, model_version=1)) as service:
        yield service


@pytest.fixture(scope="module")
def mia(home: Path, live: LiveService) -> Any:
    """What the model makes of the newcomer: her record and confidence."""
    assert live.models()["models"][0]["newcomers"] == "grouped"
    bundle = open_bundle(home / "repository" / "1")
    stand_in = Newcomers(bundle, TextEncoders()).stand_in(ABOUT_MIA, "")
    assert stand_in is not None
    return stand_in()


def _with_groups(world: World, sizes: Mapping[tuple[int, ...], int]) -> World:
    """The world with these groups besides the global one, by size."""
    model = world.groups[(0,)]
    groups = {p: replace(model, prefix=p, size=size) for p, size in sizes.items()}
    return replace(world, groups={(): world.groups[()], **groups})


def test_newcomer_is_scored_by_her_attributes_and_group(
    live: LiveService, world: World, redis_server: RedisServer, mia: Any
) -> None:
    """The individual channel reads what was told, the group channel the group's prior."""
    codes = mia.record.prefix
    grouped = _with_groups(world, {codes: 5, codes[:1]: 9})
    publish(grouped, redis_server.client(), "scored")
    assert live.promote(1, "scored").status_code == 200
    before = [live.metric(STEP), live.metric(FLAG)]
    answer = live.score(
        "mia",
        list(ITEMS[:9]),
        user_attributes=ABOUT_MIA,
        request_time=ASKED_S,
        context={"hour": 9, "weekday": 1},
    )
    assert answer["user"] == {
        "status": "newcomer",
        "activity_level": 1,
        "group_id": list(codes),
        "confidence": pytest.approx(mia.confidence),
        "prefix_used": list(codes),
    }
    assert answer["degraded"] == ["newcomer"]
    assert [live.metric(STEP), live.metric(FLAG)] == [value + 1 for value in before]
    individual, group, alpha = grouped.expected(
        mia.record, grouped.groups[codes], ASKED_S, 9, 1, ITEMS[:9]
    )
    np.testing.assert_allclose(answer["individual_logits"], individual, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer["group_logits"], group, rtol=1e-5, atol=1e-5)
    assert answer["alpha_fusion"] == pytest.approx(alpha, abs=1e-6)


@pytest.mark.parametrize(
    ("sizes", "depth"),
    [((5, 5), 2), ((1, 5), 1), ((None, 2), 1), ((1, 1), 0), ((None, None), 0), ((None, 1), 0)],
)
def test_prior_is_that_of_the_deepest_group_with_enough_members(
    live: LiveService,
    world: World,
    redis_server: RedisServer,
    mia: Any,
    sizes: Sequence[int | None],
    depth: int,
) -> None:
    """A newcomer gets the prefix that offline would choose, and costs one round trip from then."""
    codes = mia.record.prefix
    named = {codes: sizes[0], codes[:1]: sizes[1]}
    held = {prefix: size for prefix, size in named.items() if size is not None}
    name = f"depth-{sizes[0]}-{sizes[1]}"
    publish(_with_groups(world, held), redis_server.client(), name)
    assert live.promote(1, name).status_code == 200
    for _ in range(2):
        before = live.metric("choirrec_redis_round_trips_total")
        answer = live.score("mia", [ITEMS[0]], user_attributes=ABOUT_MIA)
        trips = live.metric("choirrec_redis_round_trips_total") - before
        assert answer["user"]["prefix_used"] == list(codes[:depth])
        assert answer["user"]["group_id"] == list(codes)
        assert answer["degraded"] == ["newcomer"]
    assert trips == 1


def test_damaged_group_is_flagged_for_a_newcomer_too(
    live: LiveService, world: World, redis_server: RedisServer, mia: Any
) -> None:
    """A record that cannot be read is never passed over in silence."""
    codes = mia.record.prefix
    publish(_with_groups(world, {codes: 5, codes[:1]: 5}), redis_server.client(), "torn")
    redis_server.client().set(group_key("torn", codes), b"rubbish")
    assert live.promote(1, "torn").status_code == 200
    answer = live.score("mia", [ITEMS[0]], user_attributes=ABOUT_MIA)
    assert answer["user"]["prefix_used"] == list(codes[:1])
    assert answer["degraded"] == ["newcomer", "group_record_corrupt"]


def test_record_outweighs_what_the_request_tells(live: LiveService) -> None:
    """A known user is answered by the record, whatever attributes come along."""
    plain = live.score(QUIET_USER, list(ITEMS), request_time=ASKED_S)
    told = live.score(QUIET_USER, list(ITEMS), request_time=ASKED_S, user_attributes=ABOUT_MIA)
    assert {**told, "request_id": ""} == {**plain, "request_id": ""}
    assert told["user"]["confidence"] is None


def test_nothing_told_is_an_unknown_user(live: LiveService) -> None:
    """Without a known attribute there is nothing to group by."""
    for attributes in ({}, {"age": None}, {"age": "", "city": " ?"}, None):
        answer = live.score("nobody", [ITEMS[0]], user_attributes=attributes)
        assert answer["user"]["status"] == "unknown"
        assert answer["degraded"] == ["user_unknown"]


@pytest.mark.parametrize("user_id", ["nobody", QUIET_USER])
def test_wrong_attributes_are_refused_whoever_the_user_is(live: LiveService, user_id: str) -> None:
    """Whether a call is valid does not depend on what happens to be in Redis."""
    one = {"user_id": user_id, "item_ids": ["a"], "user_attributes": {"agee": "30", "age": "30"}}
    reply = live.http.post("/score", json=one)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert "'agee': this model's attributes are age, city, income" in reply.json()["detail"]
    fine = {**one, "user_attributes": {"age": "30"}}
    batch = live.http.post("/score/batch", json={"requests": [fine, one]})
    assert batch.status_code == 422
    assert batch.json()["detail"].startswith("requests[1].user_attributes: 'agee'")


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["age", "city", "income"]),
        st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])), st.floats(-9, 9)),
    )
)
def test_no_attribute_fails_the_service(live: LiveService, attributes: dict[str, Json]) -> None:
    """Any text and any number is an answer or a refusal, never a mistake of the service."""
    request = {"user_id": "nobody", "item_ids": [ITEMS[0]], "user_attributes": attributes}
    reply = live.http.post("/score", json=request)
    assert reply.status_code in (200, 422)


def test_numbers_that_no_data_set_holds_are_refused(live: LiveService) -> None:
    """A number that no model was trained on is refused; large ones are scored."""
    told = {"user_id": "nobody", "item_ids": [ITEMS[0]], "user_attributes": {"income": 3e38}}
    reply = live.http.post("/score", json=told)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")
    assert "income: 3e+38, expected a number between -1e+18" in reply.json()["detail"]
    answer = live.score("nobody", [ITEMS[0]], user_attributes={"income": 9e17})
    assert np.isfinite(answer["scores"]).all()


def test_attributes_stand_in_while_redis_is_dead(
    home: Path, world: World, mia: Any, tmp_path: Path
) -> None:
    """Without Redis a told user still gets a group; that the record was not read stays flagged."""
    codes = mia.record.prefix
    with running_redis(tmp_path) as redis:
        publish(_with_groups(world, {codes: 5}), redis.client(), "g1")
        chosen = settings_for(home, redis.url, model_version=1, store=tmp_path / "store")
        with live_service(chosen) as live:
            live.score("mia", [ITEMS[0]], user_attributes=ABOUT_MIA)
            redis.kill()
            answer = live.score("mia", [ITEMS[0]], user_attributes=ABOUT_MIA)
    assert answer["user"]["status"] == "unavailable"
    assert answer["user"]["activity_level"] == "unknown"
    assert answer["user"]["group_id"] == answer["user"]["prefix_used"] == list(codes)
    assert answer["degraded"] == ["redis_unavailable", "newcomer"]


def test_absent_encoder_is_told_and_the_user_is_unknown(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """An operator learns from log and status why newcomers get no group."""
    far = newcomer_world(2, tmp_path / "repository" / "2", identity="far/away")
    publish(far, redis_server.client(), "far")
    environment = {
        "CHOIRREC_REPOSITORY": str(tmp_path / "repository"),
        "CHOIRREC_STORE": str(tmp_path / "store"),
        "CHOIRREC_REDIS_URL": redis_server.url,
        "CHOIRREC_FETCH_BUDGET_MS": "1000",
        "CHOIRREC_DRAIN_S": "0",
    }
    reason = "the bundle's text encoder 'far/away' cannot run here"
    with service_process(environment) as (client, process):
        (model,) = client.models()["models"]
        assert model["newcomers"] == reason
        answer = client.score("mia", [ITEMS[0]], user_attributes=ABOUT_MIA)
        assert answer["user"]["status"] == "unknown"
        assert answer["user"]["confidence"] is None
        process.terminate()
        _, log = process.communicate(timeout=20)
    lines = log.decode().splitlines()
    assert [line for line in lines if f"WARNING worker 0: newcomers get no group: {reason}" in line]
    assert all(line[:4].isdigit() for line in lines), "a library set up the log in its own way"


class Offline:
    """What the pipeline makes of users of whom nothing but attributes is known."""

    def __init__(self, way: TinyRelease) -> None:
        cut = way.pipeline.fitted_cut()
        self._grouping = way.pipeline.grouping
        self._block = EncoderBlock.load(cut.embeddings.folder)
        self._codebooks = Codebooks.load(cut.groups.folder)
        self._residuals = ResidualReference.load(cut.groups.folder)
        self._encoder = WordLlamaEncoder()
        self.tables: CanonicalTables = way.pipeline.tables()

    def assign(self, users: pa.Table, folder: Path) -> tuple[list[list[int]], list[float]]:
        """Codes and confidence of every user, by the stages themselves."""
        pq.write_table(users, folder / "users.parquet")
        shutil.copy(self.tables.path("items"), folder)
        for name in ("purchases", "searches"):
            pq.write_table(
                pq.read_table(self.tables.path(name)).slice(0, 0), folder / f"{name}.parquet"
            )
        self._embed(CanonicalTables(folder, self.tables.schema), folder)
        vectors = np.load(folder / FILE_NAME)
        codes = self._codebooks.assign(vectors)
        norms = self._codebooks.residual_norms(vectors, codes)
        return codes.tolist(), self._residuals.confidence(norms).tolist()

    def _embed(self, tables: CanonicalTables, folder: Path) -> None:
        schema, moment = tables.schema, tables.schema.split.train_start
        if self._grouping == ALIGNED:
            write_aligned(tables, moment, self._encoder, folder, self._block)
            return
        with connect() as engine:
            sources = ProfileSources(
                **{name: engine.read_parquet(tables.path(name)) for name in SOURCES},
                discrete=schema.discrete,
                continuous=schema.continuous,
                categories=schema.categories,
                windows_days=schema.profile_windows_days,
                history_start=schema.split.history_start,
            )
            profiles = build_profiles(engine, sources, moment)
        write_embeddings(profiles, self._encoder, folder, self._block)


@pytest.fixture(scope="module", params=[ALIGNED, PROFILES], ids=lambda one: one.name)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    """The tiny log as a bundle and records, by each grouping."""
    return tiny_release(tmp_path_factory, request.param)


@pytest.fixture(scope="module")
def offline(way: TinyRelease) -> Offline:
    """The pipeline's side."""
    return Offline(way)


@pytest.fixture(scope="module")
def desk(way: TinyRelease) -> Newcomers:
    """The service's side."""
    folder = Path(way.repository.url.removeprefix("file://")) / str(way.release.version)
    bundle: Bundle = open_bundle(folder)
    return Newcomers(bundle, TextEncoders())


_words = st.one_of(
    st.none(),
    st.sampled_from(["18-29", "30-49", "50+", "north", "south"]),
    # Text without a letter or digit is missing online.
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=120).filter(
        lambda text: any(map(str.isalnum, text))
    ),
)
_users = st.lists(
    st.fixed_dictionaries(
        {
            "age_band": _words,
            "city": _words,
            "income": st.one_of(st.none(), st.floats(-9e17, 9e17, allow_nan=False)),
        }
    ),
    min_size=1,
    max_size=40,
)


def _online(desk: Newcomers, attributes: Mapping[str, Json]) -> tuple[list[int], float] | None:
    stand_in = desk.stand_in(attributes, "")
    if stand_in is None:
        return None
    record, confidence = stand_in()
    return record.group_id.tolist(), confidence


def _assert_parity(
    offline: Offline, desk: Newcomers, rows: Sequence[Mapping[str, Json]], folder: Path
) -> None:
    users = pa.Table.from_pylist(
        [{"user_id": f"u{n:04d}", **row} for n, row in enumerate(rows)],
        schema=pa.schema(COLUMNS),
    )
    codes, confidence = offline.assign(users, folder)
    for row, wanted, sure in zip(rows, codes, confidence, strict=True):
        found = _online(desk, row)
        if found is None:
            assert all(value is None for value in row.values())
        else:
            assert found == (wanted, sure)


@pytest.mark.slow
def test_users_of_the_log_get_their_offline_codes(
    offline: Offline, desk: Newcomers, tmp_path: Path
) -> None:
    """Every user of a real bundle, known by attributes alone, is in the same group online."""
    rows = offline.tables.users().select(["age_band", "city", "income"]).to_pylist()
    assert len(rows) == 300
    _assert_parity(offline, desk, rows, tmp_path)


@pytest.mark.slow
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_users)
def test_any_attributes_give_the_offline_codes(
    offline: Offline, desk: Newcomers, tmp_path: Path, rows: list[dict[str, Json]]
) -> None:
    """Values that no user of the log has are grouped online as offline, bit for bit."""
    _assert_parity(offline, desk, rows, tmp_path)


@pytest.mark.slow
@pytest.mark.needs("redis-server")
def test_service_gives_the_offline_group_and_prefix(
    way: TinyRelease, offline: Offline, tmp_path: Path
) -> None:
    """Over HTTP: the codes of the pipeline, its confidence, and the prefix its rule chooses."""
    rows = offline.tables.users().select(["age_band", "city", "income"]).to_pylist()[:40]
    users = offline.tables.users().slice(0, 40)
    codes, confidence = offline.assign(users, tmp_path)
    with running_redis(tmp_path) as redis:
        publish_records(way.records, redis.url)
        environment = {
            "CHOIRREC_REPOSITORY": way.repository.url,
            "CHOIRREC_STORE": str(tmp_path / "store"),
            "CHOIRREC_REDIS_URL": redis.url,
            "CHOIRREC_FETCH_BUDGET_MS": "2000",
        }
        with service_process(environment) as (client, _):
            for row, wanted, sure in zip(rows, codes, confidence, strict=True):
                if any(value is not None for value in row.values()):
                    _assert_answer(client, way, row, (wanted, sure))


def _assert_answer(
    client: Client, way: TinyRelease, row: Mapping[str, Json], wanted: tuple[list[int], float]
) -> None:
    answer = client.score("never-seen", ["sku-1"], user_attributes=row)
    user, (codes, confidence) = answer["user"], wanted
    assert (user["status"], user["group_id"]) == ("newcomer", codes)
    assert user["confidence"] == pytest.approx(confidence)
    groups = way.records.side.groups
    prefixes = [tuple(codes[:depth]) for depth in range(len(codes) + 1)]
    large = [p for p in prefixes if p in groups and groups[p].size >= way.pipeline.preset.n_min]
    assert user["prefix_used"] == list(large[-1] if large else ())
