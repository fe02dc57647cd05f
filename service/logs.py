"""The log: one line per event on standard error, from every process of the service."""

import logging


def begin_log(process: str = "") -> None:
    """Write this process's log from now on.

    Args:
        process: stands in every line; empty: the service's first process.
    """
    name = f"{process}: " if process else ""
    logging.basicConfig(format=f"%(asctime)s %(levelname)s {name}%(message)s", level=logging.INFO)
    # Its warnings are one line per malformed request, which anybody can send at any rate.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
