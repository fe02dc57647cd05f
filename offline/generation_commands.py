"""The commands about generations: which there are, who uses them, and removing one."""

import argparse
import os

from offline.generation_use import generations_in_use
from offline.publish import Published
from offline.redis_client import RedisClient
from offline.removal import complete_generations, incomplete_generations, remove


def add_generations(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``choirrec-offline generations``."""
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--remove", metavar="NAME", help="remove one by its own list of keys")
    add_state(parser)
    parser.set_defaults(run=list_generations)


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the desired state stands."""
    parser.add_argument(
        "--state",
        default=os.environ.get("CHOIRREC_STATE"),
        help="the service's CHOIRREC_STATE, a Redis URL or a folder: what it names is never "
        "removed; default: that variable, else the Redis of the records",
    )


def list_generations(chosen: argparse.Namespace) -> None:
    """Print every generation with what uses it; before that, remove the one that was named."""
    redis = RedisClient(chosen.redis_url)
    used = generations_in_use(chosen.state or chosen.redis_url)
    if chosen.remove:
        print(f"removed {remove(redis, chosen.remove, used)} records of {chosen.remove}")
    for generation in complete_generations(redis):
        use = f"  in use: {used[generation.name]}" if generation.name in used else ""
        print(
            f"complete    {generation.name}  {generation.users} users, {generation.groups} groups"
            + use
        )
    for name in incomplete_generations(redis):
        print(f"incomplete  {name}")


def told(published: Published) -> str:
    """What a publish did, in lines for people."""
    lines = [f"generation {published.generation.name}: {published.records} records written"]
    lines += [f"removed {name}, an older one" for name in published.removed]
    lines += [f"kept {name}, an older one in use: {use}" for name, use in published.kept.items()]
    return "\n".join(lines)
