"""Interruption: a request to end that lets every block close what it opened."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Somebody asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def closing_on_signals() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise ``Interrupted`` instead of ending the process.

    Otherwise the servers that were started inside would outlive it. A signal that was ignored
    before, as by ``nohup``, stays ignored; so does a second one, which would stop the closing.

    Raises:
        Interrupted: where the process stood when the signal came.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


@contextmanager
def cancelling_on_signals(cancel: Callable[[], object]) -> Iterator[None]:
    """Inside the block a signal that would raise calls ``cancel``; it raises when the block ends.

    For event loops: what is raised inside a task ends the loop under the others' feet, and is
    raised again when the loop runs once more to close what was opened.

    Args:
        cancel: makes the block end soon; called once, between any two steps of the main thread.

    Raises:
        Interrupted: at the block's end, whatever else it would have raised.
    """
    heard: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(signal.Signals(number))
        if len(heard) == 1:
            cancel()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    raising = {number: raises for number, raises in before.items() if callable(raises)}
    for number in raising:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, raises in raising.items():
            signal.signal(number, raises)
        if heard:
            raising[heard[0]](heard[0], None)
