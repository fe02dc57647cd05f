"""Rests: a load stops again and again, so that whoever answers finds the cores free."""

import time

REST = 3.0
"""Times as long as the work before it: a load takes a quarter of a core."""
LONGEST_S = 0.1
"""Of one rest: answers have caught up by then."""


class Rests:
    """The rests of one load; made and taken in the thread that loads."""

    def __init__(self, share: float = REST) -> None:
        """Begin to work.

        Args:
            share: of the work before it, that a rest lasts; 0: none is taken.
        """
        self._share = share
        self._began_s = time.thread_time()

    def take(self) -> None:
        """Rest from the work since the last one, by this thread's own time on a core."""
        worked_s = time.thread_time() - self._began_s
        if self._share:
            time.sleep(min(self._share * worked_s, LONGEST_S))
        self._began_s = time.thread_time()
