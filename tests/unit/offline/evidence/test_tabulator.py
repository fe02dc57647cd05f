"""Tables: what is computed from cells, and what is done with cells that are missing."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from offline.evidence.findings import find
from offline.evidence.layout import LAYOUT
from offline.evidence.results import Results
from offline.evidence.study import studies
from offline.evidence.tables import MethodRow, StudyTables
from offline.evidence.user_blocks import UnevenCells
from tests.fixtures.evidence_results import GAINS, Made, results

SWEPT = replace(LAYOUT, codes_sweep=((64, "choirrec_k64"), (16, "choirrec_k16")))
WORLDS = [Made(f"sim_{world}", world=world) for world in (101, 102)]


@pytest.fixture(scope="module")
def tables() -> StudyTables:
    """Tables of two made-up worlds."""
    (found,) = find(results(*WORLDS), layout=SWEPT, titles={"choirrec_aligned": "ChoirRec"}).studies
    return found


def rows_by_method(tables: StudyTables) -> Mapping[str, MethodRow]:
    """Rows of Table 1."""
    return {row.method: row for row in tables.methods}


def test_worlds_of_one_simulator_are_one_study() -> None:
    """Worlds are averaged; roles, presets, SIM-null and real data sets stand apart."""
    parts = [
        *WORLDS,
        Made("sim_1", role="design"),
        Made("sim_null_101", world=101),
        Made("panel", world=None),
        Made("sim_101", world=101, preset="literal"),
    ]
    one_method = [replace(part, methods={"din": 0.0}, users=20) for part in parts]
    found = studies(results(*one_method))
    assert [(one.role, one.family, one.preset) for one in found] == [
        ("confirmation", "panel", "paper"),
        ("confirmation", "sim", "literal"),
        ("confirmation", "sim", "paper"),
        ("confirmation", "sim_null", "paper"),
        ("design", "sim", "paper"),
    ]
    assert found[2].datasets == ("sim_101", "sim_102")


def test_gains_are_the_true_ones_within_their_intervals(tables: StudyTables) -> None:
    """Every row's interval of all users holds the gain that its cells were made with."""
    rows = rows_by_method(tables)
    for method, row in rows.items():
        if method == "choirrec_aligned":
            assert row.gains == {}
            continue
        gain = row.gains["primary_overall"].absolute
        true = 0.5 * (GAINS["choirrec_aligned"] - GAINS[method])
        assert abs(gain.value - true) < max(0.002, 3 * gain.error)
        assert gain.low < gain.value < gain.high


def test_table_1_has_figures_beside_what_the_paper_tells(tables: StudyTables) -> None:
    """Means and spreads over cells, the paper's gain where it has the row, sizes of the models."""
    rows = rows_by_method(tables)
    told = rows["din"].gains["primary_low"].paper
    assert told is not None
    assert math.isclose(told, 0.7179 / 0.7097 - 1)
    assert rows["din_activity"].gains["primary_low"].paper is None
    assert rows["din"].figures["auc_low"].mean > 0.6
    assert set(rows["din"].figures["primary_low"].by_dataset) == {"sim_101", "sim_102"}
    assert rows["din"].dense_parameters == 12_345


def test_soft_labels_decide_where_truth_is_known() -> None:
    """A simulated study is judged on the panel and by soft labels; real data by outcomes."""
    simulated, real = (
        find(results(Made(name, world=world, users=40))).studies[0].measures
        for name, world in (("sim_1", 1), ("panel", None))
    )
    assert simulated == {
        "low": ("panel", True),
        "overall": ("test", True),
        "levels": ("panel", True),
    }
    assert set(real.values()) == {("test", False)}


def test_only_the_family_is_corrected(tables: StudyTables) -> None:
    """Controls and baselines share one Holm correction; bounds are shown without."""
    rows = rows_by_method(tables)
    family = [rows[m].gains["primary_low"] for m in LAYOUT.compared if m in rows]
    assert len(family) == 5
    for gain in family:
        assert gain.corrected is not None
        assert gain.judged is gain.corrected
        assert gain.corrected.p >= gain.relative.p
        assert gain.corrected.low <= gain.relative.low
    assert rows["choirrec_oracle"].gains["primary_low"].corrected is None


def test_ablations_and_sweeps_are_told_against_the_full_model(tables: StudyTables) -> None:
    """A variant that is worse than ChoirRec has a negative change; sweeps are in order."""
    (kl,) = tables.ablations
    assert kl.title == "w/ KL Loss"
    change = kl.gains["primary_low"].relative
    assert change.high < 0 < change.detectable
    assert [point.value for point in tables.codes_sweep] == [16, 64]
    low = [point.row.gains["primary_low"].relative.value for point in tables.codes_sweep]
    assert low[0] < low[1] < 0
    assert not {"choirrec_kl", "choirrec_k16"} & set(rows_by_method(tables))


def test_gains_by_level_are_told_net_of_the_control(tables: StudyTables) -> None:
    """Real, permuted and net gains stand side by side; the net gain's slope is below 0."""
    found = tables.levels
    assert found is not None
    for base, control, net in zip(
        found.over_base, found.permuted_over_base, found.net, strict=True
    ):
        assert math.isclose(1 + base.value, (1 + control.value) * (1 + net.value), abs_tol=1e-9)
    assert found.slopes[2].high < 0
    assert found.over_base[0].value > found.over_base[4].value


def test_trust_and_groups_stand_beside_their_control(tables: StudyTables) -> None:
    """Alpha by level and likeness of members are shown for the control, too, and for no other."""
    assert [one.method for one in tables.trust] == ["choirrec_aligned", "choirrec_aligned_permuted"]
    assert math.isclose(tables.trust[0].ratio.value, 2.0)
    assert [one.method for one in tables.groups] == [
        "choirrec_aligned",
        "choirrec_aligned_permuted",
    ]
    assert tables.groups[0].consistency > tables.groups[1].consistency


def test_rare_items_are_told_apart(tables: StudyTables) -> None:
    """Rows of rare items have figures and gains of their own, where they were measured."""
    row = rows_by_method(tables)["poso"]
    rare, frequent = (row.figures[f"gauc_{part}"].mean for part in ("rare_items", "frequent_items"))
    assert math.isclose(frequent - rare, 0.02, abs_tol=1e-9)
    assert row.gains["gauc_rare_items"].relative.value > 0


def test_a_method_that_no_seed_decides_is_measured_once(tables: StudyTables) -> None:
    """One cell of popularity per world stands for all seeds, and counts as finished."""
    row = rows_by_method(tables)["popularity"]
    assert row.finished == row.wanted == 6
    assert row.gains["primary_low"].relative.low > 0


def test_unfinished_methods_are_compared_on_the_cells_they_have() -> None:
    """A method with some cells is paired on those, and says how many there are."""
    made = results(*(replace(one, users=60) for one in WORLDS))
    late = pc.field("method") == "din"
    early = (pc.field("dataset") == "sim_101") & (pc.field("seed") < 2)
    some = Results(made.rows.filter(~late | early), made.users.filter(~late | early))
    (found,) = find(some).studies
    row = rows_by_method(found)["din"]
    assert (row.finished, row.wanted) == (2, 6)
    assert math.isfinite(row.gains["primary_low"].relative.low)


def test_nothing_is_compared_before_the_subject_has_run() -> None:
    """Without a cell of ChoirRec there are figures, and no gains."""
    (found,) = find(results(Made(users=40, methods={"din": 0.0, "poso": 0.1}))).studies
    assert [row.method for row in found.methods] == ["din", "poso"]
    assert all(row.gains == {} for row in found.methods)
    assert all("primary_low" in row.figures for row in found.methods)
    assert found.levels is None


def test_methods_that_no_table_names_are_shown() -> None:
    """Whatever was measured is visible, outside of the corrected family."""
    methods = {"choirrec_aligned": 0.01, "din": 0.0, "something_new": 0.02}
    (found,) = find(results(Made(users=40, methods=methods))).studies
    row = rows_by_method(found)["something_new"]
    assert row.gains["primary_low"].corrected is None


def test_cells_of_other_users_are_refused_by_name() -> None:
    """Cells that were measured on different rows are never paired."""
    made = results(Made(users=20, methods={"din": 0.0, "choirrec_aligned": 0.1}))
    uneven = made.users.filter(~((pc.field("method") == "din") & (pc.field("user") == 3)))
    with pytest.raises(UnevenCells, match="din"):
        find(Results(made.rows, uneven))


def test_the_order_of_rows_does_not_matter() -> None:
    """Cells and users in any order give the same tables, intervals included."""
    made = results(*(replace(one, users=30, seeds=(0, 1)) for one in WORLDS))
    random = np.random.default_rng(3)
    mixed = Results(*(t.take(random.permutation(t.num_rows)) for t in (made.rows, made.users)))
    assert find(mixed).to_json() == find(made).to_json()


def test_segments_without_a_pair_are_left_out() -> None:
    """Where no low-activity user has both classes, there is no figure instead of a wrong one."""
    made = results(
        Made("panel", world=None, users=20, methods={"din": 0.0, "choirrec_aligned": 0.1})
    )
    nobody = Results(made.rows, made.users.filter(~pc.field("low")))
    (found,) = find(nobody).studies
    row = rows_by_method(found)["din"]
    assert "primary_low" not in row.gains
    assert "primary_overall" in row.gains
