"""Whether every worker has followed: nobody is forgotten, and nobody is waited for in vain."""

import pytest

from model.desired import Target
from service.control.convergence import (
    NO_WORKER,
    complaints,
    followed,
    settled,
    summary,
    verdicts,
)
from service.lifecycle.states import ReplicaState
from tests.control import desired_state, replica_state, target_state, worker_state

TARGET = Target(1, "g1")
READY = (target_state(TARGET, "active"),)
FOLLOWING = worker_state(0, 1, TARGET, READY)


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ((), False),
        ((replica_state("a"),), False),
        ((replica_state("a", workers=(FOLLOWING,)),), True),
        ((replica_state("a", workers=(FOLLOWING,)), replica_state("b")), False),
        ((replica_state("a", workers=(FOLLOWING, worker_state(1, 0))),), False),
        ((replica_state("a", workers=(FOLLOWING, worker_state(1, 0, draining=True))),), True),
        ((replica_state("a", workers=(worker_state(0, 1, draining=True),)),), False),
        ((replica_state("a", workers=(worker_state(0, 7, TARGET, READY),)),), True),
    ],
    ids=["nobody", "no worker", "one", "one of two", "new worker", "ending", "all end", "later"],
)
def test_settled_means_every_worker_that_stays(
    replicas: tuple[ReplicaState, ...], expected: bool
) -> None:
    """A replica without workers is waited for, a worker that is ending is not."""
    assert settled(replicas, 1) == expected
    assert followed(replicas, desired_state()) == expected


def test_settled_worker_that_answers_by_another_champion_does_not_follow() -> None:
    """Having tried is not having done."""
    other = worker_state(0, 1, Target(2, "g1"), READY)
    assert settled([replica_state("a", workers=(other,))], 1)
    assert not followed([replica_state("a", workers=(other,))], desired_state())


def test_each_worker_has_a_verdict_and_an_empty_replica_has_one() -> None:
    """What is not there is said as plainly as what failed."""
    failed = target_state(TARGET, "failed", "no memory")
    workers = (FOLLOWING, worker_state(1, 1, None, (failed,)), worker_state(2, 0))
    said = verdicts([replica_state("a", workers=workers), replica_state("b")], TARGET)
    assert [(v.replica, v.worker, v.state, v.ready) for v in said] == [
        ("a", 0, "active", True),
        ("a", 1, "failed", False),
        ("a", 2, "absent", False),
        ("b", NO_WORKER, "absent", False),
    ]
    assert complaints(said) == (
        "worker 1 of a: failed (no memory); worker 2 of a: absent; "
        "b: no worker runs; see the replica's log"
    )


def test_summary_of_many_workers_is_short() -> None:
    """The audit log of a large fleet is as short as that of a small one."""
    workers = tuple(
        worker_state(n, 1, None, (target_state(TARGET, "failed", "x" * 99),)) for n in range(500)
    )
    said = verdicts([replica_state("a", workers=workers)], TARGET)
    assert summary(said) == {"workers": {"failed": 500}, "digests": [], "slowest_s": None}
    assert complaints(said).endswith("and 492 more")
