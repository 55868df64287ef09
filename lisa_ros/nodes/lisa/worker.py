# SPDX-License-Identifier: Apache-2.0
"""Threads that process one bounded queue of jobs, so that the executor's thread stays free for callbacks."""

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lisa_ros.dialogue.fair_order import FairOrder

_LOG = logging.getLogger(__name__)

_GRACE_S = 5.0
"""A job that exceeded its time and was cancelled counts as stuck if it still runs after so many seconds."""


class Job(Protocol):
    """Something to do. Its methods are called on the worker's threads."""

    @property
    def lane(self) -> Hashable:
        """Jobs of one lane are done in order, one at a time."""

    def run(self, cancelled: Callable[[], bool]) -> None:
        """Do it. It must return soon after `cancelled()` returns True."""

    def fail(self, error: BaseException) -> None:
        """Handle what `run` raised."""

    def time_out(self, timeout_s: float) -> None:
        """Handle that `run` did not return within timeout_s seconds. It may still be running."""


AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(eq=False)
class _Run(Generic[AnyJob]):
    """A job in progress.

    Attributes:
        job: The job.
        background: Whether it gives way to every submitted job.
        timeout_s: Maximum duration in seconds; infinite: no limit.
        deadline_s: End of that time in monotonic seconds.
        cancelled: Set when the job should stop.
        thread: Runs it.
        abandoned: Whether it exceeded its time, so that another thread took its thread's place.
    """

    job: AnyJob
    background: bool
    timeout_s: float
    deadline_s: float
    cancelled: threading.Event
    thread: threading.Thread
    abandoned: bool = False


class Worker(Generic[AnyJob]):
    """Does several jobs at the same time. Independent of ROS.

    The lanes take turns, so that many jobs in one lane do not delay the others. Any exception of a job, SystemExit
    among them, goes to its `fail`, and the thread continues with the next job. A thread whose job exceeds its time is
    replaced. One background job at a time runs while no other job waits or runs; it is cancelled when one arrives.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        timeout_s: Callable[[], float] = lambda: 0.0,
        exhausted: Callable[[], None] = lambda: None,
        grace_s: float = _GRACE_S,
    ) -> None:
        """Start the threads.

        Args:
            threads: Number of jobs that are done at the same time.
            timeout_s: Returns the maximum duration of a job that starts now, in seconds; 0: no limit.
            exhausted: Called when as many jobs as there are threads are stuck.
            grace_s: A cancelled job is stuck if it still runs after so many seconds: a model looks at its cancellation
                between two tokens only.
        """
        self._timeout_s, self._exhausted, self._count, self._grace_s = timeout_s, exhausted, threads, grace_s
        self._waiting: dict[AnyJob, float] = {}
        """Jobs in the queue -> when they arrived, in monotonic seconds."""
        self._background: AnyJob | None = None
        self._runs: list[_Run[AnyJob]] = []
        self._order = FairOrder()
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._abandoned: dict[threading.Thread, float] = {}
        """Threads whose job exceeded its time -> when it counts as stuck, in monotonic seconds."""
        with self._changed:
            for _ in range(threads):
                self._start_thread()
        self._start(self._watch, "lisa_watchdog")

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def waiting(self) -> int:
        """Number of jobs in the queue."""
        with self._changed:
            return len(self._waiting)

    def waiting_in(self, lane: Hashable) -> int:
        """Number of jobs of a lane in the queue."""
        with self._changed:
            return sum(job.lane == lane for job in self._waiting)

    @property
    def stuck(self) -> int:
        """Number of jobs that exceeded their time, were cancelled, and still run long after that."""
        with self._changed:
            now_s = time.monotonic()
            return sum(thread.is_alive() and now_s >= stuck_s for thread, stuck_s in self._abandoned.items())

    def submit(self, job: AnyJob, limit: int) -> bool:
        """Put a job into the queue. Returns False if `limit` jobs wait already or the worker is stopping."""
        with self._changed:
            if self.stopping or len(self._waiting) >= limit:
                return False
            self._waiting[job] = time.monotonic()
            self._background = None
            for run in self._runs:
                if run.background:
                    run.cancelled.set()
            self._changed.notify_all()
            return True

    def submit_background(self, job: AnyJob) -> bool:
        """Do a job now if no other one waits or runs. Returns whether it will be done."""
        with self._changed:
            if self.stopping or self._waiting or self._runs or self._background is not None:
                return False
            self._background = job
            self._changed.notify_all()
            return True

    def withdraw(self, chosen: Callable[[AnyJob], bool]) -> list[AnyJob]:
        """Remove jobs from the queue and return them; jobs in progress are not affected."""
        with self._changed:
            taken = [job for job in self._waiting if chosen(job)]
            for job in taken:
                del self._waiting[job]
            return taken

    def stop(self) -> None:
        """Drop the waiting jobs, cancel those in progress, and accept no more; returns at once."""
        with self._changed:
            self._stopping.set()
            self._waiting.clear()
            self._background = None
            for run in self._runs:
                run.cancelled.set()
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """After `stop`: wait for the threads. Returns False if one did not end in time."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            threads = [*self._threads, *self._abandoned]
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start(self, target: Callable[[], None], name: str) -> threading.Thread:
        # Daemon threads: a model that cannot be interrupted must not prevent the process from ending.
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def _start_thread(self) -> None:
        self._threads.append(self._start(self._work, f"lisa_worker_{next(self._number)}"))

    def _work(self) -> None:
        """The body of a thread."""
        try:
            while (run := self._next()) is not None:
                self._do(run)
                if run.abandoned:
                    return
                del run  # or the command's images stay in memory until the next job
        except BaseException:  # raised outside of a job, for example by an exception set from another thread
            _LOG.exception("A worker thread ended and is replaced.")
            self._replace_this_thread()

    def _do(self, run: _Run[AnyJob]) -> None:
        try:
            run.job.run(run.cancelled.is_set)
        except BaseException as error:  # the thread must survive every error of a model, SystemExit too
            self._report_failure(run.job, error)
        finally:
            with self._changed:
                if run in self._runs:
                    self._runs.remove(run)
                    self._note_turn(run)
                self._changed.notify_all()

    def _report_failure(self, job: AnyJob, error: BaseException) -> None:
        try:
            job.fail(error)
        except BaseException:  # and every error of its handling
            _LOG.exception("The failure of a job could not be handled.")

    def _next(self) -> _Run[AnyJob] | None:
        """Take the next job whose lane is free; None: the worker is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or self._ready())
            if self.stopping:
                return None
            job, background = self._next_job(), False
            if job is not None:
                del self._waiting[job]
            else:
                job, self._background, background = self._background, None, True
                assert job is not None
            timeout_s = self._timeout_s() or math.inf
            deadline_s, thread = time.monotonic() + timeout_s, threading.current_thread()
            run = _Run(job, background, timeout_s, deadline_s, threading.Event(), thread)
            self._runs.append(run)
            self._note_turn(run)
            self._changed.notify_all()  # the watchdog has a new deadline
            return run

    def _ready(self) -> bool:
        return self._next_job() is not None or (self._background is not None and not self._runs)

    def _next_job(self) -> AnyJob | None:
        """Of the jobs whose lane is free, the one whose turn it is."""
        busy = {run.job.lane for run in self._runs}
        free = [(job, arrived_s) for job, arrived_s in self._waiting.items() if job.lane not in busy]
        return min(free, key=lambda one: self._order.came_s(one[0].lane, one[1]), default=(None, 0.0))[0]

    def _note_turn(self, run: _Run[AnyJob]) -> None:
        if not run.background:
            self._order.note_turn(run.job.lane, {job.lane for job in self._waiting})

    def _replace_this_thread(self) -> None:
        with self._changed:
            if threading.current_thread() in self._threads and not self.stopping:
                self._threads.remove(threading.current_thread())
                self._start_thread()

    def _watch(self) -> None:
        """The body of the watchdog's thread."""
        while not self.stopping:
            for run in self._expired():
                try:
                    run.job.time_out(run.timeout_s)
                except BaseException:
                    _LOG.exception("The time-out of a job could not be handled.")
            if self.stuck >= self._count:
                self._exhausted()
                return

    def _expired(self) -> list[_Run[AnyJob]]:
        """Wait for jobs that exceed their time; cancel them, free their lanes, and replace their threads."""
        with self._changed:
            wait_s = self._next_deadline_s() - time.monotonic()
            if not self.stopping and self.stuck < self._count:  # either may be new since _watch looked
                self._changed.wait(None if math.isinf(wait_s) else max(0.0, wait_s))
            now_s = time.monotonic()
            expired = [run for run in self._runs if now_s >= run.deadline_s and not self.stopping]
            for run in expired:
                run.abandoned = True
                run.cancelled.set()
                self._runs.remove(run)
                self._note_turn(run)
                self._threads.remove(run.thread)
                self._abandoned[run.thread] = now_s + self._grace_s
                self._start_thread()
            return expired

    def _next_deadline_s(self) -> float:
        """When the watchdog must look again, in monotonic seconds; infinite: when something changes."""
        self._abandoned = {thread: stuck_s for thread, stuck_s in self._abandoned.items() if thread.is_alive()}
        now_s = time.monotonic()
        graces_s = [stuck_s for stuck_s in self._abandoned.values() if stuck_s > now_s]
        return min([*graces_s, *(run.deadline_s for run in self._runs)], default=math.inf)
