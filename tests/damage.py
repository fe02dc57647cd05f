"""Damage: ways to harm a good sealed bundle in place."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.bundle import MANIFEST, ContractParts, seal
from model.encoder import EncoderBlock
from tests import broken_graphs as graphs

Harm = Callable[[Path], object]


def reseal(folder: Path, **parts: str) -> None:
    """Seal again, so that the hashes are right and only the content is wrong.

    Args:
        folder: the damaged bundle.
        parts: parts of the contract to replace.
    """
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    kept = replace(ContractParts(**manifest["parts"]), **parts)
    seal(folder, manifest["model_version"], kept, manifest["lineage"], manifest["metrics"])


def edit_manifest(**fields: Any) -> Harm:
    """Replace members of the manifest."""

    def harm(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | fields))

    return harm


def edit_files(names: Mapping[str, object]) -> Harm:
    """Name further files in the manifest, or (None) leave named ones out."""

    def harm(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        named = manifest["files"] | names
        kept = {name: digest for name, digest in named.items() if digest is not None}
        edit_manifest(files=kept)(folder)

    return harm


def sealed(harm: Harm) -> Harm:
    """The damage, sealed again after it."""

    def both(folder: Path) -> None:
        harm(folder)
        reseal(folder)

    return both


def edit_array(name: str, edit: Callable[[Any], Any]) -> Harm:
    """Change an array and seal again."""
    return sealed(lambda f: np.save(f / name, edit(np.load(f / name)), allow_pickle=True))


def edit_text(name: str, edit: Callable[[str], str]) -> Harm:
    """Change a text file and seal again."""
    return sealed(lambda folder: (folder / name).write_text(edit((folder / name).read_text())))


def edit_golden(**fields: Any) -> Harm:
    """Change members of the first golden request and seal again."""

    def edited(text: str) -> str:
        first, *others = json.loads(text)
        return json.dumps([first | fields, *others])

    return edit_text("golden.json", edited)


def edit_graph(name: str, edit: graphs.Edit) -> Harm:
    """Change a graph and seal again."""
    return sealed(graphs.edit_graph(name, edit))


def claim_shape(name: str, *shape: int) -> Harm:
    """Let an array's header claim another shape than its bytes fill, and seal again."""

    def harm(folder: Path) -> None:
        path = folder / name
        array = np.load(path)
        header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
        written = io.BytesIO()
        np.lib.format.write_array_header_1_0(written, header)
        path.write_bytes(written.getvalue() + array.tobytes())

    return sealed(harm)


def grow(name: str, size: int) -> Harm:
    """Make a file huge without using disk; its hash in the manifest is left as it was."""
    return lambda folder: os.truncate(folder / name, size)


def flip_bit(folder: Path) -> None:
    """Flip one bit in the middle of a table."""
    path = folder / "tables" / "user.npy"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(folder: Path) -> None:
    """Cut a graph in half."""
    path = folder / "group_channel.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link(name: str, folder: Path) -> None:
    """Replace a file or a folder by a link to an equal one elsewhere."""
    elsewhere = folder.parent / f"moved-{folder.name}-{Path(name).name}"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)


def circle(folder: Path) -> None:
    """Put a link into the bundle that leads back to it."""
    (folder / "tables" / "again").symlink_to(folder)


def pipe(folder: Path) -> None:
    """Replace a file by a pipe that nobody ever writes into."""
    (folder / "spec.json").unlink()
    os.mkfifo(folder / "spec.json")


def zip_bomb(folder: Path) -> None:
    """Put a zip that unpacks to a quarter of a gigabyte in an array's place."""
    path = folder / "tables/user.npy"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        packed.open("user.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(16):
            file.write(bytes(2**24))


def other_encoder(folder: Path) -> None:
    """Put another encoder block into the folder."""
    block = EncoderBlock("1", "another", ("a", "b"), (1.0, 1.0), np.zeros((2, 4), np.float32))
    block.save(folder / "encoder")


def repeated_member(folder: Path) -> None:
    """Name the version twice: two readers may take another one each."""
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("{", '{"model_version": 77,', 1))


def unsorted(keys: Any) -> Any:
    """The keys with the first two swapped."""
    return np.concatenate([keys[1::-1], keys[2:]])


def other_records(text: str) -> str:
    """Golden requests with a group's record in the user's place."""
    goldens = json.loads(text)
    goldens[0]["user"] = goldens[0]["group"]
    return json.dumps(goldens)


def unlink(name: str) -> Harm:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Harm:
    """Write a file that the manifest may or may not name."""
    return lambda folder: (folder / name).write_bytes(content)


def double(folder: Path) -> None:
    """Write a graph's bytes twice: protobuf would merge them into one of both."""
    path = folder / "reliability.onnx"
    path.write_bytes(2 * path.read_bytes())
