"""The plan: every claim has its controls, and nothing confirms on data that was looked at."""

from offline.evidence.cells import panel, world
from offline.evidence.layout import LAYOUT
from offline.evidence.plan import cells, confirmation, core, design, quick
from offline.methods.registry import METHODS


def test_every_planned_method_exists() -> None:
    """No cell names a method that cannot be made."""
    for plan in (confirmation(), design(), quick()):
        assert {cell.method for cell in plan} <= set(METHODS)


def test_confirmation_and_design_share_no_data() -> None:
    """What is chosen on and what confirms are different worlds and weeks."""
    used = {cell.source.name for cell in design()} | {cell.source.name for cell in quick()}
    assert used.isdisjoint(cell.source.name for cell in confirmation())
    assert {cell.source.role for cell in confirmation()} == {"confirmation"}
    assert {cell.source.role for cell in design()} == {"design"}


def test_a_claim_never_stands_without_its_controls() -> None:
    """Wherever ChoirRec is measured, permuted groups and the matched DIN are, with its seeds."""
    for plan in (confirmation(), design()):
        measured = {(cell.source, cell.method, cell.seed) for cell in plan}
        for source, method, seed in list(measured):
            if method == LAYOUT.subject:
                assert (source, LAYOUT.permuted, seed) in measured
                assert (source, "din_activity", seed) in measured


def test_a_quick_run_holds_every_method_once() -> None:
    """The short run touches all that the long one needs."""
    plan = quick()
    assert {cell.method for cell in plan} == {cell.method for cell in confirmation()}
    assert len(plan) == len({cell.method for cell in plan})


def test_methods_that_need_the_truth_are_left_out_where_nobody_knows_it() -> None:
    """Oracle and Bayes groups are for simulated worlds alone; popularity needs no seeds."""
    names = [*core(), "choirrec_oracle", "choirrec_bayes"]
    real, simulated = (
        cells([source], names, 2) for source in (panel("design"), world(1, "design"))
    )
    assert {cell.method for cell in simulated} - {cell.method for cell in real} == {
        "choirrec_oracle",
        "choirrec_bayes",
    }
    assert sum(cell.method == "popularity" for cell in simulated) == 1
