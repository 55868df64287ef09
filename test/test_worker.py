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


def test_lanes_run_beside_each_other_and_each_in_its_order() -> None:
    worked: list[str] = []
    gates = {name: threading.Event() for name in ("a1", "b1", "a2")}
    done = threading.Semaphore(0)

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        assert gates[item].wait(PATIENCE_S)
        worked.append(item)
        done.release()

    worker = Worker(work, lambda item, error: None, threads=3, lane=lambda item: item[0])
    for item in ("a1", "a2", "b1"):
        assert worker.submit(item, 10)
    gates["a2"].set()  # would be first if it did not wait for a1
    gates["b1"].set()
    assert done.acquire(timeout=PATIENCE_S) and worked == ["b1"]
    gates["a1"].set()
    assert done.acquire(timeout=PATIENCE_S) and done.acquire(timeout=PATIENCE_S)
    assert worked == ["b1", "a1", "a2"]
    worker.stop()
    assert worker.join(PATIENCE_S)
