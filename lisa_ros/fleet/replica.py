# SPDX-License-Identifier: Apache-2.0
"""The model on a server: one Ray Serve replica."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import math
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from ray.serve.metrics import Counter, Gauge, Histogram

from lisa_ros.fleet.compute_queue import NEW_IMAGE_LATER_S, ComputeQueue
from lisa_ros.fleet.frame_cache import FrameCache
from lisa_ros.fleet.messages import event_json
from lisa_ros.fleet.requests import Query, RequestError, decompress_image, frame_id, unpack
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import CommandError, Event, Finished, MaskFound
from lisa_ros.segmentation.cancellation import CancelToken
from lisa_ros.segmentation.errors import ImageError
from lisa_ros.segmentation.interface import EncodedImage

UNKNOWN_FRAME = {"event": "unknown_frame"}
"""The replica has not got the image, and the request brought none: the robot sends it again, with the image."""

_log = logging.getLogger("ray.serve")
_TAGS: Any = ("robot", "ended")
_SECONDS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]

HANGS_S = 60.0
"""An answer that still runs so long after it was cancelled, or its deadline, hangs: the replica is replaced."""

TEXT_S = 0.05
"""Text that comes faster is sent in parts of so many seconds: each part costs time in three processes."""

ALIVE_S = 1.0
"""Where the model works so long without an event, a space is sent, so that the robot does not take the server for lost:
a command may wait for others, and the answers of several crops are sent at their end."""

Emit = Callable[[dict[str, Any]], None]


class _Lines:
    """Puts events into lines of JSON, and several pieces of text into one part. Masks and ends are sent at once."""

    def __init__(self, send: Callable[[bytes | None], object]) -> None:
        self._send = send
        self._waiting = b""
        self._sent_s = -math.inf

    def add(self, event: dict[str, Any]) -> None:
        self._waiting += json.dumps(event).encode() + b"\n"
        now_s = time.monotonic()
        if event["event"] != "text" or now_s >= self._sent_s + TEXT_S:
            self._sent_s = now_s
            self._flush()

    def end(self) -> None:
        self._flush()
        self._send(None)

    def _flush(self) -> None:
        if self._waiting:
            self._send(self._waiting)
            self._waiting = b""


class _Stop(CancelToken):
    """Cancelled by a call, or once the answer's time is over. A timer would be one more thread for each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived_s = time.monotonic()
        self._end_s = math.inf
        self._was_asked = False

    def at(self, end_s: float) -> None:
        """Sets when the time is over, by time.monotonic."""
        self._end_s = end_s

    def was_asked(self) -> bool:
        """Whether it was asked since the last call. A model asks for each token; one that hangs does not."""
        was_asked, self._was_asked = self._was_asked, False
        return was_asked

    def __call__(self) -> bool:
        self._was_asked = True
        return super().__call__() or time.monotonic() >= self._end_s


class Replica:
    """One loaded model. Commands that run at the same time share its decoding steps, as in a node."""

    def __init__(self, checkpoint: str, options: LoadOptions, taken: int, computed: int, frames: int) -> None:
        """Loads the model.

        Args:
            checkpoint: see load_segmenter.
            options: of loading.
            taken: commands that it has at the same time.
            computed: of those, the ones that are computed at the same time. The others wait.
            frames: encoded images that are kept.
        """
        self._segmenter = load_segmenter(checkpoint, options)
        self._frames = FrameCache(frames)
        self._threads = ThreadPoolExecutor(taken, thread_name_prefix="lisa_answer")
        self._requests = Counter("lisa_requests", "Commands by how they ended.", tag_keys=_TAGS)
        self._frame_hits = Counter("lisa_frames", "Commands by whether the image was known.", tag_keys=("known",))
        self._first_mask = Histogram("lisa_first_mask_s", "Seconds to the first mask.", boundaries=_SECONDS)
        self._running = Gauge("lisa_running", "Commands that the replica has: computed or waiting.")
        self._answering: dict[CancelToken, float] = {}
        self._lock = threading.Lock()
        self._queue = ComputeQueue(computed)

    def check_health(self) -> None:
        """Called by Ray Serve every ten seconds; it replaces the replica after three errors in a row.

        Raises:
            RuntimeError: a model's step hangs, so that one of the threads will answer no more.
        """
        now_s = time.monotonic()
        with self._lock:
            hanging = sum(now_s > end_s + HANGS_S for end_s in self._answering.values())
        if hanging:
            raise RuntimeError(f"{hanging} answers still run {HANGS_S:.0f} s after they were to end")

    def describe(self) -> dict[str, Any]:
        """The model's name, and how many images are kept."""
        return {"model": self._segmenter.name, "frames": len(self._frames)}

    async def answer(self, robot: str, body: bytes) -> AsyncIterator[bytes]:
        """Answers a request.

        Args:
            robot: who asks.
            body: see fleet.requests.

        Yields:
            one line of JSON or several: events of the answer (fleet.messages), or one with "event": "unknown_frame" or
            "error". When the request is cancelled, the model stops within a token. Between the lines there may be
            spaces, see ALIVE_S.
        """
        loop, token = asyncio.get_running_loop(), _Stop()
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        sent = _Lines(lambda part: loop.call_soon_threadsafe(lines.put_nowait, part))

        def work() -> None:
            try:
                self._answer(robot, body, token, sent.add)
            finally:
                sent.end()

        # The thread works in this request's context: its trace.
        running = loop.run_in_executor(self._threads, contextvars.copy_context().run, work)
        try:
            while (part := await _next_part(lines, token)) is not None:
                yield part
            await running
        finally:
            self._cancel(token)

    def _answer(self, robot: str, body: bytes, token: _Stop, emit: Emit) -> None:
        with self._running_answer(token):
            self._answer_logged(robot, body, token, emit)

    def _answer_logged(self, robot: str, body: bytes, token: _Stop, emit: Emit) -> None:
        ended, command_id = "failed", ""
        try:
            query, image = unpack(body)
            command_id = query.command_id
            trace.get_current_span().set_attributes({"lisa.command_id": command_id, "lisa.robot": robot})
            token.at(self._ends_by(token, token.arrived_s + query.deadline_s))
            ended = self._segment(robot, query, image, token, emit)
        except (CommandError, ImageError, RequestError) as error:
            ended = {CommandError: "command", ImageError: "image"}.get(type(error), "request")
            emit({"event": "error", "kind": ended, "text": str(error)})
        except Exception as error:  # the replica must survive every error of a model
            _log.error("Command %r of %r failed:\n%s", command_id, robot, traceback.format_exc())
            emit({"event": "error", "kind": "model", "text": f"{type(error).__name__}: {error}"})
        finally:
            self._requests.inc(tags={"robot": robot, "ended": ended})
            known = {"command_id": command_id, "robot": robot, "ended": ended}
            _log.info("Command %r of %r: %s", command_id, robot, ended, extra=known)

    def _segment(self, robot: str, query: Query, image: bytes, token: _Stop, emit: Emit) -> str:
        first = True
        encode = self._encoding(image, query.frame) if image else None
        with self._frames.use((robot, query.frame), encode) as encoded:
            if encoded is None:  # counted when it comes again, with the image
                emit(UNKNOWN_FRAME)
                return "unknown_frame"
            self._frame_hits.inc(tags={"known": str(not image)})
            for event in self._events_in_turn(robot, query, encoded, token, is_new=bool(image)):
                if isinstance(event, Finished):  # the robot may have asked another model for its name
                    event = replace(event, model=event.model or self._segmenter.name)
                emit(event_json(event))
                if first and isinstance(event, MaskFound):
                    first = False
                    self._first_mask.observe(time.monotonic() - token.arrived_s)
        return "cancelled" if token() else "answered"

    def _encoding(self, image: bytes, name: str) -> Callable[[], EncodedImage]:
        """A function that encodes an image. Raises a RequestError where it is not the image of this name."""
        if frame_id(image) != name:
            raise RequestError("the image is not the one that the request names")
        pixels = decompress_image(image)
        return lambda: self._segmenter.encode(pixels)

    def _events_in_turn(
        self, robot: str, query: Query, encoded: EncodedImage, token: _Stop, *, is_new: bool
    ) -> Iterator[Event]:
        due_s = token.arrived_s + (NEW_IMAGE_LATER_S if is_new else 0.0)
        with self._queue.place(robot, due_s, token) as has_place:
            if has_place:
                yield from self._events(query, encoded, token)
            else:
                yield Finished("", (), "cancelled")

    def _events(self, query: Query, encoded: EncodedImage, token: CancelToken) -> Iterator[Event]:
        session = self._segmenter.session(encoded, query.turns, max_history_tokens=query.max_history_tokens)
        return session.segment(
            query.command,
            query.references,
            max_new_tokens=query.max_new_tokens,
            cancelled=token,
            answer=query.answer,
            pointing=query.pointing,
        )

    @contextmanager
    def _running_answer(self, token: CancelToken) -> Iterator[None]:
        """Counts an answer, and when it is to end, while the block runs."""
        with self._lock:
            self._answering[token] = time.monotonic() if token() else math.inf
            self._running.set(len(self._answering))
        try:
            yield
        finally:
            with self._lock:
                del self._answering[token]
                self._running.set(len(self._answering))

    def _cancel(self, token: CancelToken) -> None:
        token.cancel()
        self._ends_by(token, time.monotonic())

    def _ends_by(self, token: CancelToken, end_s: float) -> float:
        """Notes that an answer, if it still runs, is to end by a time; returns that time."""
        with self._lock:
            if token in self._answering:
                self._answering[token] = min(self._answering[token], end_s)
        return end_s


async def _next_part(parts: asyncio.Queue[bytes | None], token: _Stop) -> bytes | None:
    """The next part of an answer, or a space; None: the answer has ended."""
    while True:
        try:
            return await asyncio.wait_for(parts.get(), ALIVE_S)
        except TimeoutError:
            if token.was_asked():
                return b" "
