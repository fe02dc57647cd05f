"""Broken bundles: every kind of damage that a bundle must be refused for, with the reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from model.bundle import MANIFEST
from tests import broken_graphs as graphs
from tests import damage
from tests.damage import (
    Harm,
    claim_shape,
    edit_array,
    edit_files,
    edit_golden,
    edit_graph,
    edit_manifest,
    edit_text,
    grow,
    reseal,
    sealed,
    unlink,
    write,
)

GIB = 2**30
GROUP, INDIVIDUAL, RELIABILITY = "group_channel", "individual_channel", "reliability"


@dataclass(frozen=True)
class Broken:
    """One kind of damage: called with a good sealed bundle's folder, it damages it in place."""

    harm: Harm
    reason: str
    """A pattern that the refusal's words hold."""
    files_pass: bool = False
    """The files are as they were sealed: only running the graphs on golden requests tells."""

    def __call__(self, folder: Path) -> None:
        """Damage the bundle."""
        self.harm(folder)


_MANIFEST: Mapping[str, Broken] = {
    "no manifest": Broken(unlink(MANIFEST), "no manifest.json|is not in"),
    "manifest is no JSON": Broken(write(MANIFEST, b"{"), "not a bundle manifest"),
    "manifest is empty": Broken(write(MANIFEST, b""), "not a bundle manifest"),
    "manifest is a list": Broken(write(MANIFEST, b"[]"), "not a bundle manifest"),
    "manifest is deep": Broken(write(MANIFEST, b"[" * 9**6), "not a bundle manifest"),
    "manifest is binary": Broken(write(MANIFEST, b"\xff" * 9), "not a bundle manifest"),
    "manifest is a link": Broken(partial(damage.link, MANIFEST), "manifest.json: a link"),
    "manifest of 1 GiB": Broken(grow(MANIFEST, GIB), "manifest.json: 1073741824 bytes, at most"),
    "manifest says a thing twice": Broken(damage.repeated_member, "says 'model_version' twice"),
    "manifest has a surplus": Broken(edit_manifest(surplus=1), "unexpected keyword.*surplus"),
    "another format": Broken(edit_manifest(format=3), "format 3, this build reads 2; serve it"),
    "version is a text": Broken(edit_manifest(model_version="1"), "'1', expected a positive"),
    "version is true": Broken(edit_manifest(model_version=True), "True, expected a positive"),
    "version is zero": Broken(edit_manifest(model_version=0), "0, expected a positive"),
    "another version": Broken(edit_manifest(model_version=99), "holds model_version 99"),
    "no files": Broken(edit_manifest(files={}), "names no files"),
    "files is a text": Broken(edit_manifest(files="all"), "names no files"),
    "traversal": Broken(edit_files({"../1/spec.json": "0"}), r"'\.\./1/spec.json' leaves"),
    "absolute name": Broken(edit_files({"/etc/hostname": "0"}), "'/etc/hostname' leaves"),
    "name is not canonical": Broken(edit_files({"./spec.json": "0"}), "not canonical"),
    "name of two lines": Broken(edit_files({"a\nb": "0"}), "not canonical"),
    "digest is a number": Broken(edit_files({"spec.json": 3}), "spec.json: SHA-256 differs"),
    "digest of the schema is a number": Broken(
        edit_manifest(parts={"schema": 3, "encoder": "e", "codebooks": "c", "spec": "s"}),
        "manifest.json: parts.schema 3, expected a digest as text",
    ),
    "tolerance that tolerates all": Broken(
        edit_manifest(tolerances={"CPUExecutionProvider": 1e9}),
        "tolerance of CPUExecutionProvider: 1000000000.0, expected .* at most 0.001",
    ),
    "tolerance of zero": Broken(edit_manifest(tolerances={"CPU": 0}), "of CPU: 0, expected"),
    "tolerance is a text": Broken(edit_manifest(tolerances={"CPU": "1"}), "of CPU: '1', exp"),
    "tolerance is true": Broken(edit_manifest(tolerances={"CPU": True}), "of CPU: True, exp"),
    "tolerance is NaN": Broken(edit_manifest(tolerances={"CPU": np.nan}), "of CPU: nan, exp"),
    "no tolerance for this machine": Broken(
        edit_manifest(tolerances={"CUDAExecutionProvider": 1e-4}),
        "no tolerance for CPUExecutionProvider; the manifest has",
        files_pass=True,
    ),
    "tolerances is a number": Broken(edit_manifest(tolerances=1e-5), "1e-05, expected an obj"),
}

_FILES: Mapping[str, Broken] = {
    "flipped bit": Broken(damage.flip_bit, "tables/user.npy: SHA-256 differs"),
    "truncated": Broken(damage.truncate, "group_channel.onnx: SHA-256 differs"),
    "truncated table": Broken(
        grow("tables/user.npy", 500), "tables/user.npy: .*1152 bytes in all; the file has 500"
    ),
    "missing file": Broken(unlink("golden.json"), "missing files: golden.json"),
    "extra file": Broken(write("notes.txt", b"x"), "does not name: notes.txt"),
    "left-over manifest": Broken(write("manifest.json.tmp", b""), "not name: manifest.json.tmp"),
    "graph not named": Broken(edit_files({"reliability.onnx": None}), "name: reliability.onnx"),
    "no graph at all": Broken(sealed(unlink("reliability.onnx")), "files: reliability.onnx"),
    "linked file": Broken(partial(damage.link, "spec.json"), "spec.json: a link"),
    "linked folder": Broken(partial(damage.link, "tables"), "tables: a link"),
    "links in a circle": Broken(damage.circle, "tables/again: a link"),
    "pipe": Broken(damage.pipe, "spec.json: neither a file nor a folder"),
    "table of 1 TiB": Broken(grow("tables/user.npy", 1024 * GIB), "bytes, at most 68719476736"),
    "table of 8 GiB": Broken(
        grow("tables/user.npy", 8 * GIB), "tables/user.npy: .*the file has 8589934592"
    ),
    "golden requests of 8 GiB": Broken(
        grow("golden.json", 8 * GIB), "golden.json: 8589934592 bytes, at most"
    ),
    "graph of 8 GiB": Broken(
        grow("reliability.onnx", 8 * GIB), "reliability.onnx: 8589934592 bytes, at most"
    ),
    "zip bomb": Broken(sealed(damage.zip_bomb), "tables/user.npy: no array can be read"),
}

_CONTENT: Mapping[str, Broken] = {
    "contract of another": Broken(
        edit_manifest(feature_contract="0" * 64), "feature_contract does not follow from its parts"
    ),
    "another schema": Broken(lambda f: reseal(f, schema="0"), "schema 0, this build speaks"),
    "another spec": Broken(
        edit_text("spec.json", lambda text: text.replace('"n_min":2', '"n_min":3')),
        "spec.json has digest",
    ),
    "another encoder": Broken(sealed(damage.other_encoder), "encoder/encoder.json has digest"),
    "other codebooks": Broken(
        edit_array("encoder/codebooks.npy", lambda array: array + 1),
        "encoder/codebooks.npy has digest",
    ),
    "spec is no JSON": Broken(edit_text("spec.json", lambda _: "{"), "spec.json: JSONDecodeError"),
    "unsorted keys": Broken(
        edit_array("catalogue/item_keys.npy", damage.unsorted), "must strictly increase"
    ),
    "repeated key": Broken(
        edit_array("catalogue/item_keys.npy", lambda keys: np.sort([keys[0], *keys[:-1]])),
        "must strictly increase",
    ),
    "keys of another type": Broken(
        edit_array("catalogue/item_keys.npy", lambda keys: keys.astype(np.int64)),
        "int64 in 1-d, expected uint64 in 1-d",
    ),
    "codes of another shape": Broken(
        edit_array("catalogue/item_codes.npy", lambda codes: codes[:, :-1]),
        r"item_codes.npy: shape .* does not fit the spec",
    ),
    "codes outside": Broken(
        edit_array("catalogue/item_codes.npy", lambda codes: codes + 90),
        "codes outside the spec's vocabularies",
    ),
    "NaN in a table": Broken(
        edit_array("tables/ages.npy", lambda table: table * np.float32(np.nan)),
        "tables/ages.npy: holds NaN or infinity",
    ),
    "table of another shape": Broken(
        edit_array("tables/user.npy", lambda table: table[:-1]),
        r"tables/user.npy: float32 \(63, 4\), expected float32 \[64, any\]",
    ),
    "table of another width": Broken(
        edit_array("tables/user.npy", lambda table: np.hstack([table, table])),
        r"individual_channel.onnx: input user \[any, 16\], expected \[R, 20\]",
    ),
    "huge table": Broken(
        claim_shape("tables/user.npy", 64, 10**12), "tables/user.npy: .*the file has 1152"
    ),
    "huge codebooks": Broken(
        claim_shape("encoder/codebooks.npy", 10**9, 10**9), "codebooks.npy: .*the file has"
    ),
    "huge catalogue": Broken(
        claim_shape("catalogue/item_keys.npy", 10**15), "item_keys.npy: .*the file has"
    ),
    "overflowing table": Broken(
        claim_shape("tables/user.npy", 2**32, 2**32), "tables/user.npy: .*the file has"
    ),
    "negative table": Broken(
        claim_shape("tables/user.npy", -64, -4), "tables/user.npy: .*a negative size"
    ),
    "table by columns": Broken(
        edit_array("tables/user.npy", np.asfortranarray), "tables/user.npy: .*column by column"
    ),
    "pickled table": Broken(
        edit_array("tables/user.npy", lambda _: np.array([{}], object)),
        "tables/user.npy: no array can be read",
    ),
    "pickled keys": Broken(
        edit_array("catalogue/item_keys.npy", lambda _: np.array([{}], object)),
        "item_keys.npy: no array can be read",
    ),
    "pickled codebooks": Broken(
        edit_array("encoder/codebooks.npy", lambda _: np.array([{}], object)),
        "encoder/codebooks.npy: no array can be read",
    ),
    "empty table": Broken(
        sealed(write("tables/user.npy", b"")), "tables/user.npy: no array can be read"
    ),
    "no reference sketch": Broken(
        edit_text("reference.json", lambda _: "{}"), "reference.json: .*no reference sketch"
    ),
    "no evaluation": Broken(edit_text("evaluation.json", lambda _: "{}"), "evaluation.json: "),
    "snapshot of no moment": Broken(
        edit_text("prior_snapshot.json", lambda text: re.sub(r'(as_of_s": )\d+', r'\1"x"', text)),
        "prior_snapshot.json: .*as_of_s 'x', expected a whole number",
    ),
    "no global prior": Broken(
        edit_text("prior_snapshot.json", lambda _: '{"generation":"g","as_of_s":1,"records":{}}'),
        "holds no global prior",
    ),
}

_GOLDEN: Mapping[str, Broken] = {
    "no golden requests": Broken(
        edit_text("golden.json", lambda _: "[]"), "golden.json holds no requests"
    ),
    "golden is no JSON": Broken(edit_text("golden.json", lambda _: "x"), "golden.json: JSONDecode"),
    "golden record damaged": Broken(
        edit_text("golden.json", damage.other_records), "golden.json: .*request 0"
    ),
    "golden of no hour": Broken(edit_golden(hour=77), "request 0: hour 77, expected"),
    "golden of no logits": Broken(edit_golden(group_logits=[]), "expected as many of each"),
    "golden of NaN": Broken(
        edit_golden(alpha_fusion=float("nan")), "alpha_fusion nan, expected a finite number"
    ),
    "wrong golden": Broken(
        edit_golden(alpha_fusion=0.123),
        "golden request 0.*alpha_fusion .*, expected 0.123 within 1e-05",
        files_pass=True,
    ),
}


def _broken(name: str, edit: graphs.Edit, reason: str, files_pass: bool = False) -> Broken:
    return Broken(edit_graph(name, edit), reason, files_pass)


_GRAPHS: Mapping[str, Broken] = {
    "graph is a text": Broken(
        sealed(write("reliability.onnx", b"graph")), "reliability.onnx: no ONNX graph"
    ),
    "graph is empty": Broken(sealed(write("reliability.onnx", b"")), "reliability.onnx: no graph"),
    "graph cut and sealed": Broken(sealed(damage.truncate), "group_channel.onnx: no ONNX graph"),
    "two graphs in one": Broken(sealed(damage.double), "reliability.onnx: .*more than once"),
    "external data": _broken(GROUP, graphs.external_data, "group_channel.onnx: .*external data"),
    "NaN weight": _broken(GROUP, graphs.nan_weight, "group_channel.onnx: .*NaN or infinity"),
    "huge weight": _broken(INDIVIDUAL, graphs.huge_weight, r"shape \[1000000000000, 64\] .* bytes"),
    "weight as a list": _broken(GROUP, graphs.typed_weight, "weights as lists"),
    "weight of texts": _broken(GROUP, graphs.text_weight, "weights as lists|elements of type 8"),
    "sparse weight": _broken(GROUP, graphs.sparse_weight, "sparse weights"),
    "constant that explodes": _broken(GROUP, graphs.expanding, "Expand of constants alone"),
    "constants multiplied": _broken(GROUP, graphs.multiplied, "MatMul of constants alone"),
    "branch": _broken(RELIABILITY, graphs.branching, "operator If|a graph inside"),
    "loop": _broken(RELIABILITY, graphs.looping, "operator Loop"),
    "foreign operator": _broken(GROUP, graphs.foreign, "operator com.example.Run"),
    "foreign operators": _broken(GROUP, graphs.foreign_opset, "operators of com.microsoft"),
    "function": _broken(GROUP, graphs.function, "functions"),
    "operators of another age": _broken(GROUP, graphs.old_operators, "operators of version 7"),
    "graph of another age": _broken(GROUP, graphs.new_format, "IR version 999"),
    "other input": _broken(GROUP, graphs.input_names, "inputs .*anything"),
    "other output": _broken(GROUP, graphs.output_names, "outputs .*anything"),
    "input of integers": _broken(GROUP, graphs.input_type, "input .* type 7, expected float32"),
    "input of another width": _broken(
        INDIVIDUAL, graphs.input_shape, r"input candidates \[any, any, 9999\], expected"
    ),
    "one candidate alone": _broken(
        GROUP, graphs.one_candidate, r"input candidates \[.*1.*\], expected"
    ),
    "output of another rank": _broken(
        GROUP, graphs.output_shape, "output group_logit .*, expected"
    ),
    "output of another shape": _broken(
        INDIVIDUAL, graphs.real_output_shape, "golden request 0.*14", files_pass=True
    ),
    "changed weight": _broken(
        RELIABILITY,
        graphs.another_answer,
        "golden request 0.*alpha_fusion .*, expected .* within 1e-05",
        files_pass=True,
    ),
}

BROKEN: Mapping[str, Broken] = {**_MANIFEST, **_FILES, **_CONTENT, **_GOLDEN, **_GRAPHS}
"""By what is wrong."""
