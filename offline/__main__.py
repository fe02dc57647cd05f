"""The command line of the offline half: ``choirrec-offline``."""

import argparse
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from model.repository import Repository
from model.whole_file import whole_file
from offline.artefacts import Store
from offline.bundle_commands import add_bundle
from offline.datasets import simulator
from offline.demo import demonstrate
from offline.embedded_redis import NoRedisServer
from offline.encoders import ENCODERS, choose_encoder
from offline.engine import EngineError
from offline.evidence.cells import WORLD_USERS
from offline.evidence.commands import add_paper, add_trial, add_workers, run_comparison
from offline.evidence.model_report import load_evidence, model_report
from offline.evidence.plan import CONFIRMATION_WORLDS
from offline.evidence.runner import CellsFailed
from offline.export import ExportError
from offline.generation_commands import add_generations, add_state
from offline.generation_commands import told as told_published
from offline.generation_use import UnknownUse, generations_in_use
from offline.group_map import compare, told
from offline.group_report.page import write_report
from offline.grouped import GroupedUsers, NotGroups
from offline.inspection import inspect_groups
from offline.interruption import Interrupted, closing_on_signals
from offline.local_service import ServiceFailed
from offline.online.commands import add_online
from offline.openai_encoder import EncoderFailed
from offline.pipeline import Dataset
from offline.presets import PRESETS
from offline.product import GROUPINGS, Product, choose_grouping
from offline.redis_client import RedisClient, RedisFailed
from offline.release import cut_records, publish_records, release
from offline.removal import PublishError, complete_generations
from offline.rules import ConfigError, DatasetError
from offline.seeds import evaluate_seeds
from offline.sources import canonical, complete_journey, own_files, simulated, tmall
from offline.writers.settings import WRITERS, load_settings
from offline.writers.writer import WriterFailed

LOSSES = ("identified", "literal")
FAILURES = (
    EngineError,
    ExportError,
    PublishError,
    RedisFailed,
    UnknownUse,
    NoRedisServer,
    ServiceFailed,
    WriterFailed,
    EncoderFailed,
    CellsFailed,
    OSError,
    ValueError,
    ArithmeticError,
)


_EXAMPLE = "2026-03-06T00:00:00"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as on the command line, without the program's name; None takes them from it.

    Returns:
        The exit code: 0 done, 1 failed, 2 bad input (nothing written), 128 + the signal's number
        when interrupted.
    """
    # Some libraries set the root logger to INFO when they are imported.
    logging.basicConfig(level=logging.WARNING, force=True)
    chosen = _parser().parse_args(arguments)
    try:
        with closing_on_signals():
            chosen.run(chosen)
    except KeyboardInterrupt as interrupt:
        print(f"interrupted; the same command {chosen.again}", file=sys.stderr)
        return 128 + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)
    except (DatasetError, NotGroups) as error:
        print(f"choirrec-offline: {error}", file=sys.stderr)
        return 2
    except FAILURES as error:
        print(f"choirrec-offline: {error}{_place(error, chosen)}", file=sys.stderr)
        return 1
    return 0


def _place(error: Exception, chosen: argparse.Namespace) -> str:
    """Where to look when writing failed in words that name no file."""
    folder = getattr(chosen, "root", getattr(chosen, "out", None))
    unnamed = isinstance(error, OSError) and not error.filename and not error.strerror
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if folder is None or not (unnamed or full):
        return ""
    return f"; the disk of {folder} may be full: make room, or name another folder"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="choirrec-offline", description="From a raw log to a bundle and a generation."
    )
    parser.set_defaults(again="goes on where it stopped")
    commands = parser.add_subparsers(required=True, metavar="command")
    _demo_parser(commands.add_parser("demo", help="the whole way on the household panel"))
    _build_parser(commands.add_parser("build", help="a bundle, and records when Redis is named"))
    _publish_parser(commands.add_parser("publish", help="records as of a moment, without a bundle"))
    _evaluate_parser(commands.add_parser("evaluate", help="every model, several seeds"))
    add_paper(commands.add_parser("paper", help="every table of the evidence, by one command"))
    add_trial(commands.add_parser("trial", help="a setting on validation rows, into the ledger"))
    _simulate_parser(commands.add_parser("simulate", help="canonical tables of a simulated shop"))
    _groups_parser(commands.add_parser("groups", help="whether groups can be trusted"))
    add_online(commands.add_parser("online", help="figures of what answered, from its log"))
    add_bundle(commands.add_parser("bundle", help="inspect, verify or compare bundles"))
    add_generations(commands.add_parser("generations", help="list or remove generations"))
    return parser


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path("var"), help="where everything lies")


def _add_source(parser: argparse.ArgumentParser, preset: str) -> None:
    _add_root(parser)
    log = parser.add_mutually_exclusive_group()
    log.add_argument("--mapping", type=Path, help="TOML mapping of your own log (docs/data.md)")
    log.add_argument("--tmall", type=Path, help="folder of a log of brands (docs/data.md)")
    log.add_argument("--tables", type=Path, help="folder of canonical tables (docs/data.md)")
    log.add_argument("--world", type=_count, help="number of a simulated shop (docs/simulator.md)")
    parser.add_argument("--users", type=_count, default=WORLD_USERS, help="of a simulated shop")
    parser.add_argument(
        "--window", default="design", help="of the household panel: design or replication"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default=preset)
    parser.add_argument("--codes", type=_count, help="codes per level; default: by the sizing rule")
    parser.add_argument(
        "--groups",
        choices=GROUPINGS,
        help="aligned to later purchases, or by profiles as a writer tells them; default: aligned,"
        " profiles where a language model writes them (docs/groups.md)",
    )
    parser.add_argument("--writer", choices=WRITERS, default=WRITERS[0], help="of profiles")
    parser.add_argument("--llm", type=Path, help="TOML settings of the writer (docs/profiles.md)")
    parser.add_argument("--encoder", choices=ENCODERS, default=ENCODERS[0], help="docs/encoders.md")
    parser.set_defaults(losses=LOSSES[0])


def _add_losses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--losses", choices=LOSSES, default=LOSSES[0], help="docs/model.md")


def _count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number from 1")
    return int(text)


def _moment(text: str) -> datetime:
    """A moment in UTC, without a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a time such as {_EXAMPLE}") from error
    if moment.tzinfo is not None:
        raise argparse.ArgumentTypeError(f"{text!r} has a zone, expected UTC without one")
    return moment


def _demo_parser(parser: argparse.ArgumentParser) -> None:
    _add_root(parser)
    parser.set_defaults(run=_demo)


def _build_parser(parser: argparse.ArgumentParser) -> None:
    _add_source(parser, "spec")
    _add_losses(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repository", help="folder or URL of bundles; default ROOT/repository")
    parser.add_argument("--redis-url", help="publish the records there; default: do not publish")
    parser.add_argument("--keep", type=_count, default=2, help="complete generations that stay")
    add_state(parser)
    parser.add_argument(
        "--evidence", type=Path, help="results folder whose report of this model is put in"
    )
    parser.set_defaults(run=_build)


def _publish_parser(parser: argparse.ArgumentParser) -> None:
    _add_source(parser, "spec")
    parser.add_argument("--redis-url", required=True, help="publish the records there")
    parser.add_argument(
        "--cut", type=_moment, help="only events before it count (ISO, UTC); default: as build"
    )
    parser.add_argument("--keep", type=_count, default=2, help="complete generations that stay")
    add_state(parser)
    parser.set_defaults(run=_publish)


def _evaluate_parser(parser: argparse.ArgumentParser) -> None:
    _add_source(parser, "spec")
    _add_losses(parser)
    parser.add_argument("--seeds", type=_count, default=3, help="how many model seeds")
    parser.add_argument("--out", type=Path, default=Path("results/eval.json"))
    parser.add_argument(
        "--config", type=Path, help="TOML of a comparison with its controls (docs/evidence.md)"
    )
    add_workers(parser)
    parser.set_defaults(run=_evaluate)


def _simulate_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--world", type=_count, required=True, help="its number: another shop each")
    parser.add_argument("--users", type=_count, required=True, help="how many")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder or a new one")
    parser.add_argument("--null", action="store_true", help="archetypes without effect (SIM-null)")
    parser.set_defaults(run=_simulate, again="starts again from nothing")


def _groups_parser(parser: argparse.ArgumentParser) -> None:
    words = parser.add_subparsers(required=True, metavar="word")
    report = words.add_parser("report", help="one HTML page: figures, controls, a card per group")
    _add_source(report, "spec")
    report.add_argument(
        "--card-writer",
        choices=WRITERS,
        help="of names and summaries of groups; default: the writer of the profiles",
    )
    report.add_argument("--against", type=Path, help="folder of an earlier run's groups")
    report.add_argument("--out", type=Path, default=Path("results/groups.html"))
    report.set_defaults(run=_group_report)
    diff = words.add_parser("diff", help="where the users of every group went")
    diff.add_argument("old", type=Path, help="a folder of the groups stage")
    diff.add_argument("new", type=Path, help="another one")
    diff.set_defaults(run=_group_diff)


def _demo(chosen: argparse.Namespace) -> None:
    once, short = (os.environ.get(name, "") == "1" for name in ("ONCE", "SHORT"))
    demonstrate(chosen.root, once, short)


def _dataset(chosen: argparse.Namespace) -> Dataset:
    if chosen.tmall:
        return tmall(chosen.tmall)
    if chosen.tables:
        return canonical(chosen.tables)
    if chosen.world:
        _warn_of_world(chosen.world)
        return simulated(chosen.world, chosen.users)
    return own_files(chosen.mapping) if chosen.mapping else complete_journey(chosen.window)


def _warn_of_world(world: int) -> None:
    if world in CONFIRMATION_WORLDS:
        print(
            f"world {world} is set aside to confirm results, once (docs/simulator.md)",
            file=sys.stderr,
        )


def _check_place(out: Path) -> None:
    """Find out that a file cannot be written there before the work, not after it."""
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; expected the name of a file")
    above = next(folder for folder in out.parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ConfigError(f"--out {out}: {above} is no folder that can be written into")


def _product(chosen: argparse.Namespace) -> Product:
    dataset = _dataset(chosen)
    writer = load_settings(chosen.writer, chosen.llm, os.environ)
    grouping = choose_grouping(chosen.groups, writer)
    encoder = choose_encoder(chosen.encoder, os.environ)
    store = Store(chosen.root / "artefacts")
    preset = replace(
        PRESETS[chosen.preset],
        codes_per_level=chosen.codes,
        auxiliary=chosen.losses == "identified",
    )
    return Product(store, dataset, preset, grouping, writer, encoder)


def _publish(chosen: argparse.Namespace) -> None:
    _check_redis(chosen)
    product = _product(chosen)
    records = cut_records(product, product.served_cut(chosen.cut))
    published = publish_records(records, chosen.redis_url, chosen.keep, chosen.state)
    print(told_published(published))


def _check_redis(chosen: argparse.Namespace) -> None:
    """Whatever is needed at the end is asked before the work, not after it."""
    complete_generations(RedisClient(chosen.redis_url))
    generations_in_use(chosen.state or chosen.redis_url)


def _build(chosen: argparse.Namespace) -> None:
    if chosen.redis_url:
        _check_redis(chosen)
    evidence = load_evidence(chosen.evidence) if chosen.evidence else None
    product = _product(chosen)
    records = cut_records(product, product.served_cut())
    repository = Repository(chosen.repository or str(chosen.root / "repository"))
    report = model_report(product, product.method, chosen.seed, evidence)
    released = release(product, records, repository, chosen.seed, chosen.root / "triton", report)
    state = "exported" if released.new else "unchanged"
    print(f"model version {released.version} ({state}) in {repository.url}")
    if chosen.redis_url:
        published = publish_records(records, chosen.redis_url, chosen.keep, chosen.state)
        print(told_published(published))


def _evaluate(chosen: argparse.Namespace) -> None:
    if chosen.config:
        run_comparison(chosen.config, chosen.root, chosen.out.parent, chosen.workers)
        return
    _check_place(chosen.out)
    figures = evaluate_seeds(_product(chosen), range(chosen.seeds))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(chosen.out) as partial:
        partial.write_text(json.dumps(figures, indent=1))


def _simulate(chosen: argparse.Namespace) -> None:
    _warn_of_world(chosen.world)
    tables = simulator.build(chosen.out, chosen.world, chosen.users, chosen.null)
    print(f"{tables.schema.name}: canonical tables in {chosen.out}, what is true in its truth/")


def _group_report(chosen: argparse.Namespace) -> None:
    _check_place(chosen.out)
    describer = chosen.card_writer and load_settings(chosen.card_writer, chosen.llm, os.environ)
    product = _product(chosen)
    content = inspect_groups(product, chosen.against, describer)
    write_report(content, chosen.out)
    print(f"the groups of {content.dataset}: {chosen.out}")
    cuts = {"training": product.fitted_cut(), "serving": product.served_cut()}
    for name, cut in cuts.items():
        print(f"their folder at the {name} cut, for diff and --against: {cut.groups.folder}")


def _group_diff(chosen: argparse.Namespace) -> None:
    compared = compare(GroupedUsers.load(chosen.old), GroupedUsers.load(chosen.new))
    print("\n".join(told(compared)))


if __name__ == "__main__":
    sys.exit(main())
