"""The commands about bundles: what one is, whether it is whole, and how two differ."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.bundle import BrokenBundle, open_bundle
from model.repository import Repository, UnknownVersion
from offline import bundle_diff, bundle_view
from offline.bundle_check import check_bundle
from offline.rules import ConfigError
from offline.scratch import scratch_folder


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add ``choirrec-offline bundle inspect | verify | diff``."""
    words = parser.add_subparsers(required=True, metavar="word")
    _add(words.add_parser("inspect", help="what it is"), ["bundle"], _inspect)
    _add(words.add_parser("verify", help="all that the service checks"), ["bundle"], _verify)
    _add(words.add_parser("diff", help="what changed, and what fits both"), ["old", "new"], _diff)


def _add(
    parser: argparse.ArgumentParser,
    names: Sequence[str],
    run: Callable[[argparse.Namespace], None],
) -> None:
    for name in names:
        parser.add_argument(name, metavar=name.upper(), help="a version, or a bundle's folder")
    parser.add_argument("--root", type=Path, default=Path("var"), help="where everything lies")
    parser.add_argument("--repository", help="folder or URL of bundles; default ROOT/repository")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def _inspect(chosen: argparse.Namespace) -> None:
    with _fetched(chosen, chosen.bundle) as folder:
        described = bundle_view.describe(open_bundle(folder))
    _print(chosen, described, bundle_view.told)


def _verify(chosen: argparse.Namespace) -> None:
    with _fetched(chosen, chosen.bundle) as folder:
        bundle = check_bundle(folder)
    facts = {
        "model_version": bundle.manifest.model_version,
        "digest": bundle.digest,
        "files": len(bundle.manifest.files) + 1,
        "golden_requests": len(bundle.golden),
    }
    _print(chosen, facts, _told_whole)


def _told_whole(facts: dict[str, Any]) -> list[str]:
    return [
        "model version {model_version} is whole: {files} files as they were sealed, "
        "{golden_requests} golden requests answered as in training, manifest {digest}".format(
            **facts
        )
    ]


def _diff(chosen: argparse.Namespace) -> None:
    with _fetched(chosen, chosen.old) as old, _fetched(chosen, chosen.new) as new:
        compared = bundle_diff.compare(open_bundle(old), open_bundle(new))
    _print(chosen, compared, bundle_diff.told)


def _print(
    chosen: argparse.Namespace, facts: dict[str, Any], told: Callable[[dict[str, Any]], list[str]]
) -> None:
    text = json.dumps(facts, indent=1, default=str) if chosen.json else "\n".join(told(facts))
    print(text)


@contextmanager
def _fetched(chosen: argparse.Namespace, place: str) -> Iterator[Path]:
    """A version from the repository in a folder of its own, or the folder that was named."""
    if not (place.isascii() and place.isdigit()):
        if not Path(place).is_dir():
            raise ConfigError(f"{place}: expected a version's number or the folder of a bundle")
        yield Path(place)
        return
    repository = Repository(chosen.repository or str(chosen.root / "repository"))
    with scratch_folder("bundle") as scratch:
        try:
            repository.fetch(int(place), scratch)
        except UnknownVersion as error:
            raise ConfigError(str(error)) from error
        try:
            yield scratch
        except BrokenBundle as error:
            raise BrokenBundle(f"model version {place}: {error}") from error
