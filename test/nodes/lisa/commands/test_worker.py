# SPDX-License-Identifier: Apache-2.0
"""The worker's thread goes on whatever happens, and takes nothing once it is told to stop."""

import threading
from collections.abc import Callable

from lisa_ros.nodes.lisa.commands.worker import Worker

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


def test_lanes_take_turns_however_much_one_of_them_holds() -> None:
    worked: list[str] = []
    gate, done = threading.Event(), threading.Semaphore(0)

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        assert gate.wait(PATIENCE_S)
        worked.append(item)
        done.release()

    worker = Worker(work, lambda item, error: None, lane=lambda item: item[0])
    items = ["a0", "a1", "a2", "a3", "b1", "b2", "c1"]
    for item in items:
        assert worker.submit(item, 10)
    gate.set()
    for _ in items:
        assert done.acquire(timeout=PATIENCE_S)
    assert worked == ["a0", "b1", "c1", "a1", "b2", "a2", "a3"]
    worker.stop()
    assert worker.join(PATIENCE_S)


def test_what_is_withdrawn_is_not_done() -> None:
    worked: list[str] = []
    begun, gate, done = threading.Event(), threading.Event(), threading.Semaphore(0)

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        begun.set()
        assert gate.wait(PATIENCE_S)
        worked.append(item)
        done.release()

    worker = Worker(work, lambda item, error: None, lane=lambda item: item[0])
    assert worker.submit("a1", 10) and begun.wait(PATIENCE_S)
    for item in ("a2", "b1", "a3"):
        assert worker.submit(item, 10)
    assert worker.withdraw(lambda item: item[0] == "a") == ["a2", "a3"]
    gate.set()
    assert done.acquire(timeout=PATIENCE_S) and done.acquire(timeout=PATIENCE_S)
    assert worked == ["a1", "b1"]
    worker.stop()
    assert worker.join(PATIENCE_S)
