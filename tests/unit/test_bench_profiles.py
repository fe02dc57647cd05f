"""The profile bench: who is drawn, what they are told as, and how figures are reckoned."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtests.bench_profiles import Remembered, agreement, nmi, purity
from loadtests.planted_shoppers import ARCHETYPES, EACH, Shoppers, draw
from loadtests.profile_figures import differences, in_words, summary
from loadtests.profile_texts import TEXTS, Told, list_facts, tell
from model.profile_text import CategoryCount, UserFacts
from offline.datasets.simulator import build

USERS = 300


def population() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Archetypes of 3,000 users, 20 of them too few to be drawn, and who is eligible."""
    random = np.random.default_rng(0)
    archetype = random.integers(0, 20, 3000)
    eligible = random.random(3000) < 0.5
    rare = np.flatnonzero((archetype == 7) & eligible)
    eligible[rare[EACH - 1 :]] = False
    return archetype, eligible


def test_equal_seeds_draw_equal_users() -> None:
    """A figure can be got again: the draw is a function of the seed alone, and moves with it."""
    first, again, other = (draw(*population(), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.few, again.few)
    assert not np.array_equal(first.few, other.few)


@pytest.mark.parametrize("seed", range(5))
def test_every_archetype_drawn_has_its_share(seed: int) -> None:
    """Each archetype gives equally many eligible users, and one with too few gives none."""
    archetype, eligible = population()
    drawn = draw(archetype, eligible, seed)
    kinds, counts = np.unique(archetype[drawn.few], return_counts=True)
    assert np.array_equal(kinds, drawn.archetypes)
    assert counts.tolist() == [EACH] * ARCHETYPES
    assert 7 not in kinds
    assert eligible[drawn.all].all()
    assert np.isin(drawn.few, drawn.all).all()


def test_too_small_a_world_is_refused() -> None:
    """Too few users are an error that says how many archetypes there are, not a smaller draw."""
    archetype, eligible = population()
    with pytest.raises(ValueError, match="0 archetypes have"):
        draw(archetype, eligible & (np.arange(3000) < 20), 1)


@pytest.fixture(scope="module")
def shoppers(tmp_path_factory: pytest.TempPathFactory) -> Shoppers:
    """A small simulated world."""
    return Shoppers.open(build(tmp_path_factory.mktemp("world") / "tables", 1, USERS))


@pytest.fixture(scope="module")
def told(shoppers: Shoppers) -> Told:
    """What is told of some of its users."""
    return tell(shoppers.tables, shoppers.ids_of(known_users(shoppers)), None)


def known_users(shoppers: Shoppers) -> NDArray[np.int64]:
    """Users of whom a little is known, attributes too."""
    return np.flatnonzero((shoppers.purchases >= 3) & (shoppers.queries >= 1))[:40]


def test_every_text_is_told_of_the_same_users(shoppers: Shoppers, told: Told) -> None:
    """Texts are compared on the same users in the same order, and each text is explained."""
    ids = shoppers.ids_of(known_users(shoppers))
    assert all(len(texts) == len(ids) for texts in told.listings.values())
    assert all(table["user_id"].to_pylist() == ids for table in told.profiles.values())
    assert {*told.listings, *told.profiles} <= set(TEXTS)


def test_raw_texts_hold_what_the_template_is_written_from(shoppers: Shoppers, told: Told) -> None:
    """No text has an advantage in facts: every purchase and query has its line in both listings."""
    users = known_users(shoppers)
    for place, user in enumerate(users.tolist()):
        log, listed = told.listings["raw_log"][place], told.listings["raw_list"][place]
        assert log.count("bought") == listed.count("bought") == shoppers.purchases[user]
        assert log.count("searched") == shoppers.queries[user]
        asked = {line.partition(" searched ")[2] for line in log.splitlines()} - {""}
        said = {line.removeprefix("searched: ") for line in listed.splitlines()}
        assert asked <= said


def test_a_listing_is_a_line_per_fact() -> None:
    """A raw listing leaves nothing out and sums nothing up."""
    facts = UserFacts(
        {"age": "25-34", "city": None}, [CategoryCount("garden", "hose", 2)], queries=["cheap hose"]
    )
    assert list_facts(facts) == (
        "age: 25-34",
        "bought: garden > hose\nbought: garden > hose",
        "",
        "",
        "searched: cheap hose",
    )


def test_the_reader_beats_chance_among_the_drawn(shoppers: Shoppers) -> None:
    """The ceiling is told of the very users that the texts are told of."""
    users = known_users(shoppers)
    found = shoppers.bayes_reader(users, np.unique(shoppers.archetype[users]))
    assert found["accuracy_among_drawn"] > 0.3
    assert shoppers.described(users)["users"] == len(users)


def test_perfect_clusters_score_one_and_chance_lies_where_it_should() -> None:
    """Vectors that tell the truth score 1, vectors that tell nothing score as permuted labels."""
    truth = np.repeat(np.arange(8), 50)
    random = np.random.default_rng(3)
    clear = np.eye(8, dtype=np.float32)[truth]
    blind = random.normal(size=(400, 8)).astype(np.float32)
    perfect, chance = agreement(clear, truth, 1), agreement(blind, truth, 1)
    assert perfect["purity"] == perfect["nmi"] == pytest.approx(1)
    assert perfect["purity_by_chance"] == pytest.approx(1 / 8, abs=0.1)
    assert perfect["nmi_by_chance"] == pytest.approx(0, abs=0.06)
    for measure in ("purity", "nmi"):
        assert chance[measure] == pytest.approx(chance[f"{measure}_by_chance"], abs=0.05)


def test_measures_do_not_depend_on_the_names_of_clusters() -> None:
    """Clusters have no names: renaming them changes nothing; one cluster has purity of a guess."""
    truth = np.array([0, 0, 1, 1])
    assert purity(truth, np.array([5, 5, 2, 2])) == nmi(truth, np.array([5, 5, 2, 2])) == 1
    assert purity(truth, np.zeros(4, np.int64)) == 0.5
    assert nmi(truth, np.zeros(4, np.int64)) == 0


class _Counted:
    """An encoder that counts the texts it is given."""

    identity = "counted"
    width = 1

    def __init__(self) -> None:
        self.texts = 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The length of each text."""
        self.texts += len(texts)
        return np.array([[len(text)] for text in texts], np.float32).reshape(-1, 1)


def test_remembered_texts_are_encoded_once_and_equal() -> None:
    """Remembering changes no vector, and no text is paid for twice."""
    counted = _Counted()
    remembered = Remembered(counted)
    assert remembered.encode(["ab", "c", "ab"]).tolist() == [[2], [1], [2]]
    assert remembered.encode(["c", "def"]).tolist() == [[1], [3]]
    assert counted.texts == 3


def figures(template: float, model: float) -> dict[str, dict[str, dict[str, float]]]:
    """One seed: every measure of every text, the template's and the model's as given."""

    def measured(value: float) -> dict[str, float]:
        by_chance = {"purity_by_chance": 0.2, "nmi_by_chance": 0.1}
        return {"purity": value, "nmi": value, **by_chance}

    texts = {name: measured(0.3) for name in TEXTS if name != "user_ids"}
    texts |= {"template": measured(template), "local_llm": measured(model)}
    return {"wordllama": texts, "none": {"user_ids": measured(0.2)}}


def test_differences_are_paired_by_seed() -> None:
    """A gap is taken within a seed, also against vectors that no encoder made."""
    seeds = [figures(0.8, 0.5), figures(0.6, 0.7)]
    gaps = differences(seeds)["wordllama"]
    assert gaps["template - raw_log"]["nmi"]["by_seed"] == [0.5, 0.3]
    assert gaps["template - user_ids"]["nmi"]["by_seed"] == [0.6, 0.4]
    assert gaps["local_llm - template"]["nmi"]["seeds_ahead"] == 1
    assert summary(seeds)["none"]["user_ids"]["nmi"] == {
        "mean": 0.2, "std": 0, "by_seed": [0.2, 0.2], "chance": 0.1
    }  # fmt: skip


def test_where_the_small_model_loses_is_said_in_words() -> None:
    """A reader needs no table to learn that the model lost, to what, by how much and how often."""
    said = in_words(differences([figures(0.8, 0.5), figures(0.8, 0.6)]))
    assert (
        "wordllama: local_llm loses to template: NMI -0.25, ahead on 0 of 2 seeds; purity -0.25"
        in said
    )
    assert any("local_llm beats raw_log" in line for line in said)


def test_a_gap_within_its_error_is_called_level() -> None:
    """A difference that seeds do not agree on is not told as a win or a loss."""
    said = in_words(differences([figures(0.6, 0.8), figures(0.8, 0.5)]))
    assert any("local_llm is level with template" in line for line in said)
