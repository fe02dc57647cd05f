"""Export: the bundle answers as the trained network does, and is whole or absent."""

import re
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bundle import Bundle, open_bundle
from model.codebooks import Codebooks
from model.evaluation import MAX_EVALUATION_BYTES
from model.golden import Golden, GoldenRequest
from model.graph_file import read_graph
from model.losses import LossConfig
from model.network.ablation import Ablation
from model.network.batch import Batch
from model.network.choirrec import ChoirRec
from model.network.config import NetworkConfig
from model.network.serving import graphs, serving_tables
from model.spec import OOV, PAD
from offline import export as exporting
from offline.export import ExportError, Ingredients, answer, export_bundle
from offline.golden_requests import UNKNOWN_ITEM, request_arrays
from offline.onnx_graphs import to_onnx
from offline.parity import GraphRunner, Logits, Parity, check_parity, difference, network_logits
from tests.synthetic import TINY, world


@pytest.fixture(scope="session")
def runner(bundle: Bundle) -> GraphRunner:
    """Its graphs in ONNX Runtime."""
    return GraphRunner(bundle.graphs)


def inputs_of(bundle: Bundle, request: GoldenRequest) -> dict[str, np.ndarray]:
    """A request's graph inputs, assembled from its records and the bundle alone."""
    users, groups, rows = request_arrays(bundle.spec, bundle.catalogue, request)
    return {
        **bundle.tables.user_inputs(users),
        **bundle.tables.group_inputs(groups),
        "activity": users.activity,
        "candidates": bundle.tables.item_tokens[rows],
    }


def expected_of(golden: Golden) -> Logits:
    """The logits that a golden request carries."""
    return Logits(
        np.array([golden.individual_logits], np.float32),
        np.array([golden.group_logits], np.float32),
        np.array([[golden.alpha_fusion]], np.float32),
    )


def axes_of(value: onnx.ValueInfoProto) -> tuple[str | int, ...]:
    """Names of free axes, sizes of fixed ones."""
    return tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)


def test_golden_requests_are_reproduced(bundle: Bundle, runner: GraphRunner) -> None:
    """An opened bundle gives its own golden logits from records alone, within its tolerance."""
    tolerance = bundle.manifest.tolerances["CPUExecutionProvider"]
    for golden in bundle.golden:
        assert difference(expected_of(golden), runner.run(inputs_of(bundle, golden))) <= tolerance


def test_golden_requests_cover_what_could_break(bundle: Bundle) -> None:
    """Golden requests hold every activity level and prefix depth, and all that may be missing."""
    users = [golden.user for golden in bundle.golden if golden.user]
    levels = {bundle.spec.activity_level(user.window_purchases) for user in users}
    assert levels == {1, 2, 3, 4, 5}
    assert {0, 1, 2} <= {user.prefix_depth for user in users}
    assert any(golden.user is None for golden in bundle.golden)
    assert any(not len(user.purchase_items) for user in users)
    assert any(len(user.purchase_items) > bundle.spec.history_len for user in users)
    assert any(UNKNOWN_ITEM in golden.item_ids for golden in bundle.golden)
    assert {len(golden.item_ids) for golden in bundle.golden} >= {1, 20}
    assert 12 <= len(bundle.golden) <= 20


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_order_and_split_of_candidates_gives_the_same_logits(
    bundle: Bundle, runner: GraphRunner, made: Ingredients, data: st.DataObject
) -> None:
    """Network and graphs agree however the candidates are ordered, repeated and cut in chunks."""
    golden = data.draw(st.sampled_from(bundle.golden))
    rows = data.draw(st.lists(st.integers(OOV, 31), min_size=1, max_size=12))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)), max_size=3)) | {0, len(rows)})
    users, groups, _ = request_arrays(bundle.spec, bundle.catalogue, golden)
    items = np.array([rows], np.int64)
    batch = Batch.of(users, groups, items, np.zeros(items.shape, np.float32))
    expected = network_logits(made.model, batch)
    inputs = inputs_of(bundle, golden)
    parts = [
        runner.run({**inputs, "candidates": bundle.tables.item_tokens[items[:, start:end]]})
        for start, end in pairwise(cuts)
    ]
    found = Logits(
        np.concatenate([part.individual_logit for part in parts], axis=1),
        np.concatenate([part.group_logit for part in parts], axis=1),
        parts[0].alpha_fusion,
    )
    assert difference(expected, found) <= exporting.TOLERANCE


def test_parity_covers_every_row_asked_for(made: Ingredients, runner: GraphRunner) -> None:
    """The parity check compares as many rows as it says and finds nothing above the tolerance."""
    tables = serving_tables(made.model)
    parity = check_parity(made.model, runner, tables, made.held_out)
    assert parity.rows == len(made.held_out)
    assert parity.max_difference <= exporting.TOLERANCE
    assert 50 <= check_parity(made.model, runner, tables, made.held_out, rows=50).rows < 200


def test_parity_notices_a_single_changed_table_row(made: Ingredients, runner: GraphRunner) -> None:
    """One wrong row in the exported tables is enough to be refused."""
    tables = serving_tables(made.model)
    tokens = tables.item_tokens.copy()
    tokens[made.held_out.row_item[0]] += 0.1
    changed = check_parity(made.model, runner, replace(tables, item_tokens=tokens), made.held_out)
    assert changed.max_difference > 100 * exporting.TOLERANCE


@pytest.mark.parametrize("measured", [0.5, np.inf, np.nan])
def test_a_model_without_parity_becomes_no_bundle(
    made: Ingredients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: float
) -> None:
    """Graphs that answer otherwise than the network stop the export; nothing is left behind."""
    monkeypatch.setattr(exporting, "check_parity", lambda *_: Parity(measured, 200))
    monkeypatch.setattr(exporting, "to_onnx", lambda _: b"")
    monkeypatch.setattr(exporting, "GraphRunner", dict)
    with pytest.raises(ExportError, match="differ from the trained network by"):
        export_bundle(made, 1, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_nan_is_no_agreement(made: Ingredients, runner: GraphRunner) -> None:
    """Values that are not finite never count as equal, even where both sides have them."""
    tables = serving_tables(made.model)
    broken = replace(tables, ages=np.full_like(tables.ages, np.nan))
    assert check_parity(made.model, runner, broken, made.held_out).max_difference == np.inf
    nan = Logits(*[np.full((1, 1), np.nan, np.float32)] * 3)
    assert difference(nan, nan) == np.inf


def test_codebooks_of_another_run_are_refused(made: Ingredients, tmp_path: Path) -> None:
    """Codebooks whose sizes are not the spec's never reach a bundle."""
    other = replace(made, codebooks=Codebooks(np.ones((2, 4, 8), np.float32)))
    with pytest.raises(ExportError, match="come from different runs"):
        export_bundle(other, 1, tmp_path / "1")


def test_a_version_is_never_overwritten(made: Ingredients, bundle: Bundle) -> None:
    """Exporting onto a bundle that stands is refused."""
    with pytest.raises(ExportError, match="never changes"):
        export_bundle(made, 1, bundle.folder)


def test_two_exports_give_equal_bytes(made: Ingredients, bundle: Bundle, tmp_path: Path) -> None:
    """One model exported twice is the same bundle, byte for byte."""
    export_bundle(made, 1, tmp_path / "1")
    assert open_bundle(tmp_path / "1").digest == bundle.digest


def test_graphs_tell_nothing_of_the_machine(bundle: Bundle) -> None:
    """No path, module name or stack trace of the exporting machine is inside a graph."""
    for graph in bundle.graphs.values():
        assert not re.search(rb"/[a-z]{3,}|\.py|torch|aten|stack_trace", graph)


def test_graphs_take_what_is_documented(bundle: Bundle) -> None:
    """Inputs, outputs and their axes are those of docs/architecture.md; data is in one file."""
    described = {}
    for name, graph in bundle.graphs.items():
        model = onnx.load_from_string(graph)
        assert not any(tensor.external_data for tensor in model.graph.initializer)
        described[name] = [
            {
                value.name: tuple(
                    d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim
                )
                for value in values
            }
            for values in (model.graph.input, model.graph.output)
        ]
    token, attributes = 6 + 2 * 4 + 3, 2 * 4 + 2
    assert described == {
        "group_channel": [
            {
                "group_codes": ("R", 3, 5),
                "group_attributes": ("R", attributes),
                "group_sequence": ("R", 5, token),
                "group_mask": ("R", 5),
                "candidates": ("R", "C", token),
            },
            {"group_logit": ("R", "C"), "group_injection": ("R", "C", 7)},
        ],
        "individual_channel": [
            {
                "user": ("R", 6 + attributes + 2 * 3),
                "history": ("R", 6, token),
                "history_mask": ("R", 6),
                "candidates": ("R", "C", token),
                "group_injection": ("R", "C", 7),
            },
            {"individual_logit": ("R", "C")},
        ],
        "reliability": [{"activity": ("R", 5)}, {"alpha_fusion": ("R", 1)}],
    }


def test_graphs_of_full_size_hold_their_weights_folded(made: Ingredients) -> None:
    """No run of a graph adds weights to weights, however wide the layers are."""
    sizes = NetworkConfig.spec()
    wide = ChoirRec(made.spec, sizes, world(items=30).lookups, LossConfig(), 0)
    for graph in graphs(wide, made.spec, sizes):
        read_graph(to_onnx(graph))  # refuses sums of constants


def test_rare_users_hold_the_out_of_vocabulary_row(made: Ingredients, bundle: Bundle) -> None:
    """A user-table row with too few training rows equals the unknown user's; others do not."""
    rows = made.held_out.users.user_row[made.held_out.row_context]
    counts = np.bincount(rows, minlength=made.spec.user_rows)
    rare = counts < made.spec.min_user_rows
    rare[PAD] = False
    assert rare.any()
    same = (bundle.tables.user == bundle.tables.user[OOV]).all(axis=1)
    assert (same == rare).all()


def test_padding_is_zero(bundle: Bundle) -> None:
    """The padding rows of item tokens and ages are zero."""
    assert not bundle.tables.item_tokens[PAD].any()
    assert not bundle.tables.ages[PAD].any()


def test_a_golden_answer_keeps_its_request(made: Ingredients) -> None:
    """Answering a golden request adds logits and changes nothing else."""
    request = made.requests[3]
    golden = answer(made.model, made.spec, made.catalogue, request)
    for field in fields(GoldenRequest):
        assert getattr(golden, field.name) is getattr(request, field.name)
    assert len(golden.individual_logits) == len(golden.group_logits) == len(request.item_ids)


def test_the_card_quotes_its_sources(made: Ingredients, bundle: Bundle) -> None:
    """The model card names the provenance and shows the metrics it was given."""
    card = (bundle.folder / "model_card.md").read_text()
    assert str(made.lineage["provenance"]) in card
    assert "| gauc | 0.5000 | 0.6000 | 0.5000 | - | 0.5000 | 0.5000 | 0.5000 |" in card


def test_a_report_too_large_becomes_no_bundle(made: Ingredients, tmp_path: Path) -> None:
    """Whoever exports learns that a report is too large, not whoever loads; nothing is written."""
    endless = replace(made.report, page="x" * (MAX_EVALUATION_BYTES + 1))
    with pytest.raises(ExportError, match=r"has 4194305 bytes, a bundle takes at most 4194304"):
        export_bundle(replace(made, report=endless), 1, tmp_path / "1")
    assert not list(tmp_path.iterdir())


def test_an_ablated_model_becomes_no_bundle(made: Ingredients, tmp_path: Path) -> None:
    """A model made to measure what a part is worth is refused in words, and nothing is written."""
    drawn, losses = world(), made.model.losses
    ablated = ChoirRec(drawn.spec, TINY, drawn.lookups, losses, 0, Ablation(injection=False))
    with pytest.raises(ExportError, match=r"never to be served.*no bundle was written"):
        export_bundle(replace(made, model=ablated), 1, tmp_path / "1")
    assert not list(tmp_path.iterdir())
