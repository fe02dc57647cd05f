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


def one_line(text: str) -> str:
    """Text that cannot pretend to be a line of its own: what is not printable is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
