# SPDX-License-Identifier: Apache-2.0
"""The worker's threads survive every error, and accept no item after `stop`."""

import threading
from collections.abc import Callable

from lisa_ros.nodes.lisa.commands.worker import Worker

DEADLINE_S = 30


def test_the_thread_survives_an_error_and_an_error_of_its_handling() -> None:
    done = threading.Event()

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        if item == "bad":
            raise RuntimeError("broken")
        done.set()

    def failed(item: str, error: Exception) -> None:
        raise RuntimeError("the handling fails too")

    worker = Worker(work, failed)
    assert worker.submit("bad", 2) and worker.submit("good", 2)
    assert done.wait(DEADLINE_S)
    worker.stop()
    assert worker.join(DEADLINE_S)


def test_stop_cancels_the_current_item_drops_the_waiting_ones_and_accepts_no_more() -> None:
    begun = threading.Event()
    processed: list[int] = []

    def work(item: int, cancelled: Callable[[], bool]) -> None:
        processed.append(item)
        begun.set()
        while not cancelled():
            threading.Event().wait(0.001)

    worker = Worker(work, lambda item, error: None)
    assert worker.submit(1, 10)
    assert begun.wait(DEADLINE_S)
    assert worker.submit(2, 10)
    worker.stop()
    assert worker.stopping and not worker.submit(3, 10)
    assert worker.join(DEADLINE_S)
    assert processed == [1]


def test_lanes_run_in_parallel_and_each_in_order() -> None:
    processed: list[str] = []
    gates = {name: threading.Event() for name in ("a1", "b1", "a2")}
    done = threading.Semaphore(0)

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        assert gates[item].wait(DEADLINE_S)
        processed.append(item)
        done.release()

    worker = Worker(work, lambda item, error: None, threads=3, lane=lambda item: item[0])
    for item in ("a1", "a2", "b1"):
        assert worker.submit(item, 10)
    gates["a2"].set()  # would be first if it did not wait for a1
    gates["b1"].set()
    assert done.acquire(timeout=DEADLINE_S) and processed == ["b1"]
    gates["a1"].set()
    assert done.acquire(timeout=DEADLINE_S) and done.acquire(timeout=DEADLINE_S)
    assert processed == ["b1", "a1", "a2"]
    worker.stop()
    assert worker.join(DEADLINE_S)


def test_lanes_take_turns_whatever_their_length() -> None:
    processed: list[str] = []
    gate, done = threading.Event(), threading.Semaphore(0)

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        assert gate.wait(DEADLINE_S)
        processed.append(item)
        done.release()

    worker = Worker(work, lambda item, error: None, lane=lambda item: item[0])
    items = ["a0", "a1", "a2", "a3", "b1", "b2", "c1"]
    for item in items:
        assert worker.submit(item, 10)
    gate.set()
    for _ in items:
        assert done.acquire(timeout=DEADLINE_S)
    assert processed == ["a0", "b1", "c1", "a1", "b2", "a2", "a3"]
    worker.stop()
    assert worker.join(DEADLINE_S)


def test_a_withdrawn_item_is_not_processed() -> None:
    processed: list[str] = []
    begun, gate, done = threading.Event(), threading.Event(), threading.Semaphore(0)

    def work(item: str, cancelled: Callable[[], bool]) -> None:
        begun.set()
        assert gate.wait(DEADLINE_S)
        processed.append(item)
        done.release()

    worker = Worker(work, lambda item, error: None, lane=lambda item: item[0])
    assert worker.submit("a1", 10) and begun.wait(DEADLINE_S)
    for item in ("a2", "b1", "a3"):
        assert worker.submit(item, 10)
    assert worker.withdraw(lambda item: item[0] == "a") == ["a2", "a3"]
    gate.set()
    assert done.acquire(timeout=DEADLINE_S) and done.acquire(timeout=DEADLINE_S)
    assert processed == ["a1", "b1"]
    worker.stop()
    assert worker.join(DEADLINE_S)
