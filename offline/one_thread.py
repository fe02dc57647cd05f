"""One thread: matrix products that round alike, however many threads a machine would use."""

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def products_on_one_thread() -> AbstractContextManager[object]:
    """Within it, matrix products use one thread each: several share out their sums differently."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
