"""``python -m service``: the same as ``choirrec-serve``."""

import sys

from service.cli import main

sys.exit(main())
