# SPDX-License-Identifier: Apache-2.0
"""The worker's thread goes on whatever happens, and takes nothing once it is told to stop."""

import threading
from collections.abc import Callable

from lisa_ros.nodes.worker import Worker

PATIENCE_S = 30


def test_the_thread_outlives_a_failure_and_the_failure_to_say_so() -> None:
    done = threading.Event()

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        if item == "bad":
            raise RuntimeError("broken")
        done.set()

    def failed(item: str, error: Exception) -> None:
        raise RuntimeError("cannot even say so")

    worker = Worker(work, failed)
    assert worker.submit("bad", 2) and worker.submit("good", 2)
    assert done.wait(PATIENCE_S)
    worker.stop()
    assert worker.join(PATIENCE_S)


def test_stop_cancels_what_is_done_drops_what_waits_and_takes_nothing_more() -> None:
    begun = threading.Event()
    worked: list[int] = []

    def work(item: int, cancelled: Callable[[], bool]) -> None:
        worked.append(item)
        begun.set()
        while not cancelled():
            threading.Event().wait(0.001)

    worker = Worker(work, lambda item, error: None)
    assert worker.submit(1, 10)
    assert begun.wait(PATIENCE_S)
    assert worker.submit(2, 10)
    worker.stop()
    assert worker.stopping and not worker.submit(3, 10)
    assert worker.join(PATIENCE_S)
    assert worked == [1]
