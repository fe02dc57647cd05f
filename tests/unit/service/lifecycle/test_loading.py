"""Loading: every kind of broken bundle is refused with its reason, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from model.bundle import open_bundle
from model.golden import (
    golden_from_json,
    golden_to_json,
    snapshot_from_json,
    snapshot_to_json,
)
from model.repository import Repository
from service.errors import LoadRefused
from service.inference.onnxruntime_backend import OnnxRuntimeBackend
from service.lifecycle.loading import BundleLoader
from service.lifecycle.states import State
from tests.fixtures.bundles import World, make_world, reseal, write_bundle
from tests.fixtures.graphs import build_graphs

Break = Callable[[Path, World], None]


def _loader(home: Path) -> BundleLoader:
    repository = Repository(str(home / "repository"))
    return BundleLoader(repository, home / "store", OnnxRuntimeBackend(1), 125)


def _no_report(_: State) -> None:
    pass


def _bit_flipped(folder: Path, _: World) -> None:
    path = folder / "tables" / "user.npy"
    blob = bytearray(path.read_bytes())
    blob[-3] ^= 1
    path.write_bytes(blob)


def _truncated(folder: Path, _: World) -> None:
    path = folder / "group_channel.onnx"
    path.write_bytes(path.read_bytes()[:-10])


def _missing(folder: Path, _: World) -> None:
    (folder / "spec.json").unlink()


def _extra(folder: Path, _: World) -> None:
    (folder / "extra.bin").write_bytes(b"x")


def _unfinished(folder: Path, _: World) -> None:
    (folder / "manifest.json").unlink()


def _not_a_manifest(folder: Path, _: World) -> None:
    (folder / "manifest.json").write_text("{")


def _linked(folder: Path, _: World) -> None:
    target = folder.parent.parent / "outside.md"
    target.write_bytes((folder / "model_card.md").read_bytes())
    (folder / "model_card.md").unlink()
    (folder / "model_card.md").symlink_to(target)


def _nan_table(folder: Path, world: World) -> None:
    table = np.load(folder / "tables" / "ages.npy")
    table[3] = np.nan
    np.save(folder / "tables" / "ages.npy", table)
    reseal(folder, world)


def _nan_weight(folder: Path, world: World) -> None:
    weights = replace(world.weights, user_side=np.full_like(world.weights.user_side, np.nan))
    _write_graphs(folder, replace(world, weights=weights))


def _wrong_golden(folder: Path, world: World) -> None:
    path = folder / "golden.json"
    first, *others = golden_from_json(path.read_text())
    logits = (first.group_logits[0] + 1e-3, *first.group_logits[1:])
    path.write_text(golden_to_json([replace(first, group_logits=logits), *others]))
    reseal(folder, world)


def _no_golden(folder: Path, world: World) -> None:
    (folder / "golden.json").write_text("[]")
    reseal(folder, world)


def _wrong_schema(folder: Path, world: World) -> None:
    reseal(folder, replace(world, parts=replace(world.parts, schema="0" * 64)))


def _wrong_shape(folder: Path, world: World) -> None:
    np.save(folder / "tables" / "item_tokens.npy", world.tables.item_tokens[:-1])
    reseal(folder, world)


def _wrong_version(folder: Path, world: World) -> None:
    reseal(folder, replace(world, version=7))


def _other_outputs(folder: Path, world: World) -> None:
    graph = onnx.load(folder / "reliability.onnx")
    graph.graph.output[0].name = graph.graph.node[-1].output[0] = "alpha_distill"
    (folder / "reliability.onnx").write_bytes(graph.SerializeToString())
    reseal(folder, world)


def _external_data(folder: Path, world: World) -> None:
    graph = onnx.load(folder / "reliability.onnx")
    weight = next(t for t in graph.graph.initializer if t.name == "reliability")
    Path("weights.bin").write_bytes(weight.raw_data)  # in the working directory
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    (folder / "reliability.onnx").write_bytes(graph.SerializeToString())
    reseal(folder, world)


def _no_tolerance(folder: Path, world: World) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    fields["tolerances"] = {"CUDAExecutionProvider": 1e-4}
    (folder / "manifest.json").write_text(json.dumps(fields))


def _lax_tolerance(folder: Path, _: World) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    fields["tolerances"] = {"CPUExecutionProvider": 1e9}
    (folder / "manifest.json").write_text(json.dumps(fields))


def _edited(name: str, **fields: object) -> Break:
    """Replace fields of a snapshot, or of the first golden request."""

    def harm(folder: Path, world: World) -> None:
        document = json.loads((folder / name).read_text())
        first = document[0] if isinstance(document, list) else document
        first.update(fields)
        (folder / name).write_text(json.dumps(document))
        reseal(folder, world)

    harm.__name__ = f"_{name}_{'_'.join(fields)}"
    return harm


def _endless_snapshot(folder: Path, world: World) -> None:
    shutil.rmtree(folder)
    weights = replace(world.weights, group_side=world.weights.group_side * np.float32(100))
    write_bundle(replace(world, weights=weights), folder)
    path = folder / "prior_snapshot.json"
    snapshot = snapshot_from_json(path.read_text())
    huge = replace(snapshot.records[()], continuous=np.array([3e38], np.float32))
    path.write_text(snapshot_to_json(replace(snapshot, records={**snapshot.records, (): huge})))
    reseal(folder, world)


def _write_graphs(folder: Path, world: World) -> None:
    for name, graph in build_graphs(world.weights).items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    reseal(folder, world)


BREAKS: list[tuple[Break, str]] = [
    (_bit_flipped, "tables/user.npy: SHA-256 differs"),
    (_truncated, "group_channel.onnx: SHA-256 differs"),
    (_missing, "missing file: spec.json"),
    (_extra, "does not name: extra.bin"),
    (_unfinished, "^model version 2 is not in"),
    (_not_a_manifest, "manifest.json: not a bundle manifest"),
    (_linked, "model_card.md: a link"),
    (_nan_table, "tables/ages.npy: holds NaN"),
    (_nan_weight, "not finite"),
    (_wrong_golden, "golden request 0, candidate 0: group_logit"),
    (_no_golden, "golden.json holds no request"),
    (_wrong_schema, "this build speaks"),
    (_wrong_shape, "tables/item_tokens.npy"),
    (_wrong_version, "folder 2 holds model_version 7"),
    (_other_outputs, r"reliability.onnx: outputs \['alpha_distill'\]"),
    (_external_data, "reliability.onnx: ONNX Runtime refuses it"),
    (_no_tolerance, "no tolerance for CPUExecutionProvider"),
    (_lax_tolerance, "model version 2: manifest.json: tolerance of CPUExecutionProvider"),
    (_edited("golden.json", hour=77), "model version 2: golden.json: .*request 0: hour 77"),
    (_edited("golden.json", item_ids=[7]), r"golden.json: .*request 0: item_ids\[0\] 7"),
    (_edited("prior_snapshot.json", as_of_s="x"), "prior_snapshot.json: .*as_of_s 'x'"),
    (_endless_snapshot, r"prior_snapshot.json, prefix \(\): the graphs gave"),
]


@pytest.mark.parametrize(("harm", "reason"), BREAKS, ids=[b.__name__[1:] for b, _ in BREAKS])
def test_broken_bundle_is_refused_with_its_reason(
    harm: Break, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is not exactly what was exported may serve, and the reason is exact."""
    monkeypatch.chdir(tmp_path)
    world = make_world(2)
    write_bundle(world, tmp_path / "repository" / "2")
    harm(tmp_path / "repository" / "2", world)
    with pytest.raises(LoadRefused, match=reason):
        _loader(tmp_path).load(2, _no_report)
    store = tmp_path / "store"
    assert not store.exists() or list(store.iterdir()) == []


def test_load_reports_its_states_in_order(home: Path, tmp_path: Path) -> None:
    """An operator sees where a load stands."""
    states: list[State] = []
    loader = BundleLoader(
        Repository(str(home / "repository")), tmp_path / "store", OnnxRuntimeBackend(1), 125
    )
    loaded = loader.load(1, states.append)
    assert states == ["fetching", "verifying", "loading", "golden", "warming"]
    (copy,) = (tmp_path / "store").iterdir()
    assert copy.name == f"1-{loaded.bundle.digest[:16]}"


def test_what_serves_does_not_need_the_repository(home: Path, tmp_path: Path) -> None:
    """The private copy is a copy: changing the repository changes nothing that is loaded."""
    write_bundle(make_world(3), tmp_path / "repository" / "3")
    loaded = _loader(tmp_path).load(3, _no_report)
    before = np.array(loaded.bundle.tables.user)
    _bit_flipped(tmp_path / "repository" / "3", make_world(3))
    assert np.array_equal(open_bundle(loaded.bundle.folder).tables.user, before)


def test_old_copies_are_removed_but_those_in_use(tmp_path: Path) -> None:
    """The store does not grow with every version."""
    loader = _loader(tmp_path)
    loaded = []
    for version in range(1, 6):
        write_bundle(make_world(version), tmp_path / "repository" / str(version))
        loaded.append(loader.load(version, _no_report))
    del loaded[1:]
    loader.prune()
    left = {folder.name.split("-")[0] for folder in (tmp_path / "store").iterdir()}
    assert left == {"1", "4", "5"}


def test_empty_or_missing_repository_is_told(tmp_path: Path) -> None:
    """An operator who forgot to export is told so."""
    with pytest.raises(LoadRefused, match="holds no complete model version"):
        _loader(tmp_path).newest_version()
