# SPDX-License-Identifier: Apache-2.0
"""SAM's encoder in the background: it starts with a command and stops where the answer turns out to have no mask."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

import torch

from lisa_ros.models.common.errors import ClosedError

Result = TypeVar("Result")
Encode = Callable[[Callable[[], bool]], Result | None]
"""Encodes an image; asks its argument before each block whether the result is still needed, and returns None if not."""

SYNCHRONIZE_EVERY = 8
"""Blocks of the encoder between two synchronizations with the GPU: kernels that are queued cannot be cancelled."""


class BackgroundWorker:
    """A thread, and on a GPU a stream, that the encodings of one model share. It starts with the first task.

    One stream: torch's allocator keeps freed memory apart for each stream, so encodings on streams of their own would
    reserve the memory of SAM's activations many times.
    """

    def __init__(self, device: torch.device) -> None:
        """Takes the device of the tasks."""
        self._device = device
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no task is taken any longer."""
        return self._closed

    def submit(self, task: Callable[[], None]) -> None:
        """Runs a task after those before it.

        Raises:
            ClosedError: the worker was closed.
        """
        with self._lock:
            if self._closed:
                raise ClosedError("The model was released while an image was being encoded.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sam_encoder", daemon=True)
                self._thread.start()
            self._tasks.put(task)

    def close(self) -> None:
        """Lets the running task end early, and waits for the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._tasks.put(None)
        if thread is not None:
            thread.join()

    def synchronize(self) -> None:
        """Waits until the GPU has done what the running task has queued."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()

    def _run(self) -> None:
        with self._stream():
            while (task := self._tasks.get()) is not None:
                task()
                del task  # or the image's features stay in memory until the next task

    def _stream(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        least, _ = torch.cuda.Stream.priority_range()  # type: ignore[call-arg]
        return torch.cuda.stream(torch.cuda.Stream(self._device, priority=least))


class BackgroundEncoding(Generic[Result]):
    """The encoding of one image by a BackgroundWorker. Safe to use from several threads.

    `start` and `stop` come in pairs, one pair for each answer that is being generated.
    """

    def __init__(self, encode: Encode[Result], worker: BackgroundWorker) -> None:
        """Takes the encoding; it must not hold a reference to the owner of this object, or neither is freed in time."""
        self._encode, self._worker = encode, worker
        self._changed = threading.Condition()
        self._answers = 0
        self._running = False
        self._checks = 0
        self._result: Result | None = None
        self._error: Exception | None = None

    def start(self) -> None:
        """An answer that may need the result begins."""
        with self._changed:
            self._answers += 1
            self._submit()

    def stop(self) -> None:
        """An answer ends; where it was the last one, the encoding stops at its next check."""
        with self._changed:
            self._answers -= 1

    def result(self) -> Result:
        """Waits for the result.

        Raises:
            Exception: what the encoding raised. The next `start` or `result` tries again.
        """
        with self._changed:
            self._answers += 1
            try:
                while self._result is None:
                    if self._error is not None:
                        error, self._error = self._error, None
                        raise error
                    self._submit()
                    self._changed.wait()
                return self._result
            finally:
                self._answers -= 1

    def clear(self) -> None:
        """Drops the result."""
        with self._changed:
            self._result = None

    def _submit(self) -> None:
        if not self._running and self._result is None:
            self._error = None  # an earlier answer's, which did not ask for the result
            self._worker.submit(self._run)
            self._running = True

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._encode(self._needed)
            self._worker.synchronize()
        except Exception as raised:  # whoever asks for the result gets it
            error = raised
        with self._changed:
            self._running, self._result, self._error = False, result, error
            self._changed.notify_all()

    def _needed(self) -> bool:
        self._checks += 1
        if self._checks % SYNCHRONIZE_EVERY == 0:
            self._worker.synchronize()
        with self._changed:
            return self._answers > 0 and not self._worker.closed
