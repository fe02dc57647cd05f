"""Open-model load on POST /score: calls arrive when they are due, however slow the answers are.

A closed loop sends the next call only after the last answer, so a service that stalls is asked
less while it stalls, and the stall hardly shows. Here each Locust user is a stream of calls that
arrive at random, one a second on average, so `--users 20` offers 20 calls a second. A call that is
due is sent whether or not earlier ones have been answered, and its time counts from the moment at
which it was due.
"""

import os
import random
import sys
import time
from typing import Any

import gevent
from gevent.pool import Pool
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, events, task
from locust.env import Environment

from loadtests import traffic
from loadtests.traffic import FILE, Profile, Traffic, UnusableTraffic

CALLS_PER_S = 1.0
"""Of one stream, on average."""
MOST_WAITING = 64
"""Calls of one stream that may wait for an answer; one more is not sent and counts as failed."""
TIMEOUT_S = 10.0
CONNECTIONS = 1024
"""Of all streams together; more calls than that wait for one, and their time counts it."""
API_KEY = os.environ.get("CHOIRREC_API_KEY")
"""As the service under test asks for it, by the same variable."""
USAGE = 2


@events.init.add_listener  # type: ignore[untyped-decorator]
def read_traffic(environment: Environment, **_: Any) -> None:
    """Read the traffic before the first call, or say what is missing and end.

    Args:
        environment: of this run; its host, if given, goes before the file's address.
    """
    try:
        drawn = Traffic.from_file(FILE, Profile.from_environment())
        if not environment.host:
            traffic.check_address(drawn.url)
    except UnusableTraffic as error:
        print(f"locustfile: {error}", file=sys.stderr)
        sys.exit(USAGE)
    Stream.traffic = drawn
    Stream.host = drawn.url


class Stream(FastHttpUser):
    """One stream of calls."""

    traffic: Traffic
    default_headers = {"x-api-key": API_KEY} if API_KEY else None
    client_pool = HTTPClientPool(
        concurrency=CONNECTIONS, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S
    )

    def on_start(self) -> None:
        """Begin with nothing due and no answer awaited."""
        self._chance = random.Random()
        self._waiting = Pool(MOST_WAITING)
        self._due_s = time.perf_counter()

    @task
    def next_call(self) -> None:
        """Wait until the next call is due, and send it without waiting for its answer."""
        self._due_s += self._chance.expovariate(CALLS_PER_S)
        gevent.sleep(max(self._due_s - time.perf_counter(), 0.0))
        if self._waiting.full():
            self._report_unsent()
        else:
            self._waiting.spawn(self._call, self.traffic.draw(self._chance), self._due_s)

    def on_stop(self) -> None:
        """Count the answers that are still awaited."""
        self._waiting.join()

    def _call(self, body: dict[str, Any], due_s: float) -> None:
        name = f"/score, {len(body['item_ids'])} candidates"
        with self.client.post("/score", json=body, name=name, catch_response=True) as response:
            response.request_meta["response_time"] = (time.perf_counter() - due_s) * 1000
            status, content = response.status_code, response.content or b""
            found = traffic.fault(status, content, body["item_ids"])
            if found is None:
                response.success()
            elif status:  # without one, Locust's own words tell why there was no answer
                response.failure(found)

    def _report_unsent(self) -> None:
        self.environment.events.request.fire(
            request_type="POST",
            name="/score, not sent",
            response_time=0,
            response_length=0,
            context={},
            exception=RuntimeError(f"{MOST_WAITING} calls of the stream wait for an answer"),
        )
