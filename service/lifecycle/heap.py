"""The heap: what stays in it is not searched, and what a model leaves free in it is given back."""

import ctypes
import gc


def trim_heap() -> bool:
    """Give free pages back, wherever in the heap they lie.

    By itself glibc gives back only what is free at the heap's end, and a swap leaves its holes in
    the middle: after 40 swaps of a full-size model a worker held 70 % more. Takes some
    milliseconds, outside the interpreter's lock.

    Returns:
        Whether the C library can; another one than glibc has its own ways.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


def keep_heap() -> None:
    """Let the collector of cycles pass over everything that is there now.

    What a process is made of stays to its end. Each full search of it took 40 ms, in the middle of
    requests, and loads call for one every few times.
    """
    gc.collect()
    gc.freeze()
