# SPDX-License-Identifier: Apache-2.0
"""The worker's threads survive every error, are replaced when a job exceeds its time, and take lanes in turn."""

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from lisa_ros.nodes.lisa.worker import Worker

DEADLINE_S = 30


@dataclass(eq=False)
class Recorder:
    """What the jobs of a test did."""

    done: list[str] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    timed_out: list[str] = field(default_factory=list)
    changed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.changed.acquire(timeout=DEADLINE_S)


@dataclass(eq=False)
class RecordedJob:
    name: str
    recorder: Recorder
    work: Callable[[Callable[[], bool]], None] = lambda cancelled: None
    handle: Callable[[], None] = lambda: None

    @property
    def lane(self) -> str:
        return self.name[0]

    def run(self, cancelled: Callable[[], bool]) -> None:
        self.work(cancelled)
        self.recorder.done.append(self.name)
        self.recorder.changed.release()

    def fail(self, error: BaseException) -> None:
        self.recorder.failed.append(error)
        self.recorder.changed.release()
        self.handle()

    def time_out(self, timeout_s: float) -> None:
        self.recorder.timed_out.append(self.name)
        self.recorder.changed.release()


def raising(error: BaseException) -> Callable[[Callable[[], bool]], None]:
    def work(cancelled: Callable[[], bool]) -> None:
        raise error

    return work


def until_cancelled(cancelled: Callable[[], bool]) -> None:
    while not cancelled():
        time.sleep(0.001)


def end(worker: Worker[RecordedJob]) -> None:
    worker.stop()
    assert worker.join(DEADLINE_S)


@pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_the_thread_survives_every_error_and_an_error_of_its_handling(error: BaseException) -> None:
    recorder, worker = Recorder(), Worker[RecordedJob]()
    assert worker.submit(RecordedJob("bad", recorder, raising(error), lambda: raising(error)(bool)), 2)
    assert worker.submit(RecordedJob("good", recorder), 2)
    recorder.wait(2)
    assert recorder.failed == [error] and recorder.done == ["good"]
    end(worker)


def test_a_job_that_exceeds_its_time_frees_its_lane_and_its_thread_is_replaced() -> None:
    recorder, gate, exhausted = Recorder(), threading.Event(), threading.Event()
    limit_s = [0.05]
    worker = Worker[RecordedJob](threads=2, timeout_s=lambda: limit_s[0], exhausted=exhausted.set, grace_s=0.05)
    assert worker.submit(RecordedJob("a1", recorder, lambda cancelled: bool(gate.wait(DEADLINE_S))), 9)
    recorder.wait()
    while not worker.stuck:
        time.sleep(0.01)
    assert recorder.timed_out == ["a1"] and worker.stuck == 1 and not exhausted.is_set()
    limit_s[0] = 0.0  # none: a busy machine may let this one wait
    assert worker.submit(RecordedJob("a2", recorder), 9)
    recorder.wait()
    assert recorder.done == ["a2"]
    limit_s[0] = 0.05
    assert worker.submit(RecordedJob("b1", recorder, lambda cancelled: bool(gate.wait(DEADLINE_S))), 9)
    assert exhausted.wait(DEADLINE_S), "as many jobs as threads are stuck"
    gate.set()
    end(worker)


def test_jobs_that_end_after_their_cancellation_are_not_stuck() -> None:
    """They counted as stuck before they could look at it, and the node ended."""
    recorder, exhausted = Recorder(), threading.Event()
    worker = Worker[RecordedJob](threads=2, timeout_s=lambda: 0.05, exhausted=exhausted.set)

    def work(cancelled: Callable[[], bool]) -> None:
        while not cancelled():
            time.sleep(0.3)

    for name in ("a1", "b1"):
        assert worker.submit(RecordedJob(name, recorder, work), 9)
    recorder.wait(4)
    assert sorted(recorder.timed_out) == sorted(recorder.done) == ["a1", "b1"]
    assert worker.stuck == 0 and not exhausted.is_set()
    end(worker)


def test_stop_cancels_the_current_job_drops_the_waiting_ones_and_accepts_no_more() -> None:
    recorder, begun, worker = Recorder(), threading.Event(), Worker[RecordedJob]()

    def work(cancelled: Callable[[], bool]) -> None:
        begun.set()
        until_cancelled(cancelled)

    assert worker.submit(RecordedJob("a1", recorder, work), 10)
    assert begun.wait(DEADLINE_S)
    assert worker.submit(RecordedJob("a2", recorder), 10)
    worker.stop()
    assert worker.stopping and not worker.submit(RecordedJob("a3", recorder), 10)
    assert worker.join(DEADLINE_S)
    assert recorder.done == ["a1"]


def test_lanes_run_in_parallel_and_each_in_order() -> None:
    recorder, gates = Recorder(), {name: threading.Event() for name in ("a1", "b1", "a2")}
    worker = Worker[RecordedJob](threads=3)
    for name in ("a1", "a2", "b1"):
        assert worker.submit(
            RecordedJob(name, recorder, lambda cancelled, name=name: bool(gates[name].wait(DEADLINE_S))), 10
        )
    gates["a2"].set()  # would be first if it did not wait for a1
    gates["b1"].set()
    recorder.wait()
    assert recorder.done == ["b1"]
    gates["a1"].set()
    recorder.wait(2)
    assert recorder.done == ["b1", "a1", "a2"]
    end(worker)


def test_lanes_take_turns_whatever_their_length() -> None:
    recorder, gate, worker = Recorder(), threading.Event(), Worker[RecordedJob]()
    names = ["a0", "a1", "a2", "a3", "b1", "b2", "c1"]
    for name in names:
        assert worker.submit(RecordedJob(name, recorder, lambda cancelled: bool(gate.wait(DEADLINE_S))), 10)
    gate.set()
    recorder.wait(len(names))
    assert recorder.done == ["a0", "b1", "c1", "a1", "b2", "a2", "a3"]
    end(worker)


def test_a_lane_with_several_jobs_has_its_turn_while_others_send_the_next_job_after_each_answer() -> None:
    """Their lanes were forgotten between two jobs, and so before the one that waited, for ever."""
    recorder, gate, worker = Recorder(), threading.Event(), Worker[RecordedJob]()

    def send(name: str, number: int) -> None:
        def work(cancelled: Callable[[], bool]) -> None:
            gate.wait(DEADLINE_S)
            if number < 9:  # the other one has its answer and sends its next command
                send("c" if name == "b" else "b", number + 1)

        assert worker.submit(RecordedJob(f"{name}{number}", recorder, work), 10)

    for name in ("a1", "a2"):
        assert worker.submit(RecordedJob(name, recorder, lambda cancelled: bool(gate.wait(DEADLINE_S))), 10)
    send("b", 1)
    gate.set()
    recorder.wait(11)
    assert recorder.done.index("a2") <= 3
    end(worker)


def test_a_withdrawn_job_is_not_done() -> None:
    recorder, begun, gate, worker = Recorder(), threading.Event(), threading.Event(), Worker[RecordedJob]()

    def work(cancelled: Callable[[], bool]) -> None:
        begun.set()
        assert gate.wait(DEADLINE_S)

    assert worker.submit(RecordedJob("a1", recorder, work), 10) and begun.wait(DEADLINE_S)
    for name in ("a2", "b1", "a3"):
        assert worker.submit(RecordedJob(name, recorder), 10)
    assert [job.name for job in worker.withdraw(lambda job: job.lane == "a")] == ["a2", "a3"]
    gate.set()
    recorder.wait(2)
    assert recorder.done == ["a1", "b1"]
    end(worker)


def test_a_background_job_runs_alone_and_is_cancelled_by_every_other_one() -> None:
    recorder, begun, worker = Recorder(), threading.Event(), Worker[RecordedJob](threads=2)

    def work(cancelled: Callable[[], bool]) -> None:
        begun.set()
        until_cancelled(cancelled)

    assert worker.submit_background(RecordedJob("tracker", recorder, work)) and begun.wait(DEADLINE_S)
    assert not worker.submit_background(RecordedJob("second", recorder))
    assert worker.submit(RecordedJob("command", recorder), 1)
    recorder.wait(2)
    assert sorted(recorder.done) == ["command", "tracker"]
    end(worker)


def test_a_job_that_is_done_is_not_kept() -> None:
    recorder, worker = Recorder(), Worker[RecordedJob]()
    job = RecordedJob("a1", recorder)
    kept = weakref.ref(job)
    assert worker.submit(job, 1)
    recorder.wait()
    del job
    deadline_s = time.monotonic() + 10
    while kept() is not None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert kept() is None
    end(worker)


class SlowWatchdog(Worker[RecordedJob]):
    """Its watchdog is interrupted at the worst moment, between its look at the worker's state and its wait."""

    watchdog: threading.Thread | None = None
    stop_before_wait = False
    late_s = 0.0

    def _expired(self) -> list[Any]:
        self.watchdog = threading.current_thread()
        if self.stop_before_wait:
            self.stop()
        return super()._expired()

    def _next_deadline_s(self) -> float:
        if self._abandoned:
            time.sleep(self.late_s)
        return super()._next_deadline_s()


def test_the_watchdog_ends_where_stop_comes_just_before_it_waits() -> None:
    class StoppedWorker(SlowWatchdog):
        stop_before_wait = True

    worker = StoppedWorker()
    assert worker.join(DEADLINE_S)
    watchdog = worker.watchdog
    assert watchdog is not None
    watchdog.join(5)
    assert not watchdog.is_alive()


def test_a_job_that_becomes_stuck_just_before_the_watchdog_waits_is_noticed() -> None:
    class LateWorker(SlowWatchdog):
        late_s = 0.2

    recorder, gate, exhausted = Recorder(), threading.Event(), threading.Event()

    def work(cancelled: Callable[[], bool]) -> None:
        assert gate.wait(DEADLINE_S)

    worker = LateWorker(timeout_s=lambda: 0.05, exhausted=exhausted.set, grace_s=0.1)
    assert worker.submit(RecordedJob("a1", recorder, work), 1)
    noticed = exhausted.wait(5)
    gate.set()
    end(worker)
    assert noticed
