"""A replica whose workers have a planted fault: its name is the one argument."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from unittest.mock import patch

from loadtests.swaps.planted import FAULTS
from service import cli
from service import main as service
from service.supervisor.child import Spawn, spawner

PROGRAM = "loadtests.swaps.planted_replica"


def main() -> int:
    """Run a replica as ``choirrec-serve run`` does."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("fault", choices=FAULTS)
    fault: str = parser.parse_args().fault

    def planted(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Spawn:
        if module == "service.worker":
            module, arguments = "loadtests.swaps.planted", ["--fault", fault, *arguments]
        return spawner(module, arguments, environment)

    with patch.object(service, "spawner", planted):
        return cli.main(["run"])


if __name__ == "__main__":
    sys.exit(main())
