"""The offline pipeline: from a raw log to a bundle and a generation of records."""

import os

# Threads that spin while they wait cost a tenfold when another process wants the same core. Read
# by the OpenMP runtime when torch loads, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
