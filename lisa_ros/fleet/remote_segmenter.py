# SPDX-License-Identifier: Apache-2.0
"""A Segmenter whose model runs on a server (`lisa serve`). It needs no torch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lisa_ros.fleet.connection import (
    Cancelled,
    Connection,
    LostReplicaError,
    UnreachableError,
    UnreadableAnswerError,
)
from lisa_ros.fleet.messages import PixelBudget, event_from
from lisa_ros.fleet.requests import (
    MOST_ANSWER_S,
    MOST_MASK_PIXELS,
    Query,
    compress_image,
    frame_id,
    newest_turns,
    pack,
)
from lisa_ros.segmentation.answers import (
    AnswerKind,
    CommandError,
    Event,
    Finished,
    Image,
    MaskFound,
    ObjectMask,
    Reference,
    TextDelta,
    checked_event,
)
from lisa_ros.segmentation.errors import ImageError, LisaError
from lisa_ros.segmentation.interface import Capabilities, DeviceMemory, current_command_id
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.turns import Turn

_RETRY_S = (0.05, 0.2, 0.5, 1.0, 1.0)
"""Pauses before a request is sent again because its replica or its connection was lost."""

_LEAST_S = 0.1
"""Of the time that a server has for a request that is sent again."""


@dataclass(frozen=True)
class RemoteSettings:
    """How a server is asked.

    Attributes:
        token: the robot's own; empty: none.
        timeout_s: how long the server may be silent, seconds.
        jpeg_quality: of the images that are sent, 1 to 100; 0: PNG, without loss.
        certificate: file with the authority that signed the server's certificate, PEM; empty: the system's own.
        answer_s: how long an answer may take, seconds; the server stops then.
    """

    token: str = ""
    timeout_s: float = 5.0
    jpeg_quality: int = 90
    certificate: str = ""
    answer_s: float = 60.0


@dataclass
class Traffic:
    """What was sent and received since the start. The numbers are for diagnostics; sent_frames counts images."""

    sent_bytes: int = 0
    sent_frames: int = 0
    requests: int = 0
    resent: int = 0


class RemoteImage:
    """An image as it is sent. The server keeps what it computed of it."""

    def __init__(self, image: Image, jpeg_quality: int) -> None:
        """Compresses it."""
        height, width = image.shape[:2]
        self.size: tuple[int, int] = (height, width)
        self.data = compress_image(image, jpeg_quality)
        self.frame = frame_id(self.data)
        self.sent = False

    def release(self) -> None:
        """The server releases it as newer images come."""


class RemoteSegmenter:
    """The interface of every model, answered by a server."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, server: str, settings: RemoteSettings) -> None:
        """Connects nothing yet; `check` does.

        Args:
            server: lisa://HOST:PORT/MODEL.
            settings: how it is asked.

        Raises:
            LisaError: the address cannot be one, or what a remote model needs is not installed.
        """
        self.server = server
        self.traffic = Traffic()
        self._settings = settings
        self.answer_s = settings.answer_s
        """How long an answer may take, seconds; may be changed for the next commands."""
        self._connection = Connection(server, settings.token, settings.timeout_s, settings.certificate)
        self._model = ""
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The server, and the model it has."""
        return f"{self.server} ({self._model})" if self._model else self.server

    def check(self) -> None:
        """Asks the server for its model.

        Raises:
            UnreachableError: it does not answer, or is not ready.
            LisaError: it refuses the token, or is something else.
        """
        self._model = self._connection.describe()["model"]

    def encode(self, image: Image) -> RemoteImage:
        """Compresses the image; the server encodes it with the first command about it."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != "uint8" or not image.size:
            raise ImageError(f"an image is uint8 (H, W, 3) RGB; this is {image.dtype} {image.shape}")
        return RemoteImage(image, self._settings.jpeg_quality)

    def session(
        self, encoded: RemoteImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> RemoteSession:
        """Opens a dialogue about an image."""
        return RemoteSession(self, encoded, tuple(turns), max_history_tokens)

    def memory(self) -> DeviceMemory:
        """None of this machine's GPU."""
        return DeviceMemory()

    def release(self) -> None:
        """Closes the connections."""
        self._connection.close()

    def lines(self, query: Query, encoded: RemoteImage, cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """The lines of an answer. The image is sent with the first request about it, or when the server lost it."""
        for with_image in (not encoded.sent, True):
            body = pack(query, encoded.data if with_image else b"")
            self._count(len(body), with_image)
            known = True
            # Read to the end, so that the connection can be used again.
            for line in self._connection.stream(body, {"x-lisa-frame": query.frame}, cancelled):
                known = line.get("event") != "unknown_frame"
                if known:
                    # A server that is full, or whose replica was lost, did not keep the image.
                    encoded.sent = encoded.sent or line.get("event") != "error"
                    yield line
            if known:
                return

    @property
    def timeout_s(self) -> float:
        """How long the server may be silent, seconds."""
        return self._settings.timeout_s

    def count_resent(self) -> None:
        """A request is sent again."""
        with self._lock:
            self.traffic.resent += 1

    def _count(self, sent_bytes: int, with_image: bool) -> None:
        with self._lock:
            self.traffic.requests += 1
            self.traffic.sent_bytes += sent_bytes
            self.traffic.sent_frames += with_image


@dataclass
class _Progress:
    """What of an answer has been given out, over all requests that it took."""

    text: str = ""
    objects: tuple[ObjectMask, ...] = ()


class RemoteSession:
    """One dialogue about one image. Its turns travel with each request, so that a lost server loses nothing."""

    def __init__(
        self, segmenter: RemoteSegmenter, encoded: RemoteImage, turns: tuple[Turn, ...], max_history_tokens: int
    ) -> None:
        """See RemoteSegmenter.session."""
        self._segmenter = segmenter
        self._encoded = encoded
        self._turns = turns
        self._max_history_tokens = max_history_tokens

    def segment(
        self,
        command: str,
        references: Sequence[Reference] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
        pointing: Pointing = NO_POINTING,
    ) -> Iterator[Event]:
        """See segmentation.interface.Session.

        Raises:
            UnreachableError: the server cannot be reached, its queue is full, or it sends what is no answer or no end.
            CommandError, ImageError: as from a model on this machine.
            RuntimeError: the model failed.
        """
        pointing.check(self._encoded.size)
        query = Query(
            frame=self._encoded.frame,
            command=command,
            command_id=current_command_id(),
            turns=newest_turns(self._turns),
            references=tuple(references),
            max_new_tokens=max_new_tokens,
            max_history_tokens=self._max_history_tokens,
            answer=answer,
            pointing=pointing,
            deadline_s=min(self._segmenter.answer_s, MOST_ANSWER_S),
        )
        progress = _Progress()
        end_s = time.monotonic() + query.deadline_s
        stopped = self._stopped(cancelled, end_s)
        for pause_s in (*_RETRY_S, None):
            left_s = max(_LEAST_S, end_s - time.monotonic())
            try:
                yield from self._events(replace(query, deadline_s=left_s), stopped, progress)
                return
            except Cancelled:
                yield Finished(progress.text, progress.objects, "cancelled")
                return
            except LostReplicaError:
                if pause_s is None:
                    raise
                self._segmenter.count_resent()
                _pause(pause_s, cancelled)

    def _stopped(self, cancelled: Callable[[], bool], end_s: float) -> Callable[[], bool]:
        """`cancelled`, which raises UnreachableError once the time of an answer is over, whether lines come or not.

        The time is that of all requests that the answer takes.
        """
        name, answer_s = self._segmenter.server, self._segmenter.answer_s

        def stopped() -> bool:
            if time.monotonic() > end_s + self._segmenter.timeout_s:
                raise UnreachableError(f"{name} did not end its answer in {answer_s:.0f} s")
            return cancelled()

        return stopped

    def _events(self, query: Query, stopped: Callable[[], bool], progress: _Progress) -> Iterator[Event]:
        """The events that have not been given out. A replica answers as the lost one did: answers are deterministic."""
        again = _Progress()
        lines = self._segmenter.lines(query, self._encoded, stopped)
        for line in lines:
            event = _event(line, self._encoded.size)
            if isinstance(event, MaskFound):
                again.objects += (event.object,)
                if len(again.objects) > len(progress.objects):
                    progress.objects = again.objects
                    yield event
            elif isinstance(event, TextDelta):
                again.text += event.text
                if len(again.text) > len(progress.text):
                    new, progress.text = again.text[len(progress.text) :], again.text
                    yield TextDelta(new)
            else:
                _read_to_the_end(lines)
                model = f"{self._segmenter.server} ({event.model})" if event.model else ""
                yield replace(event, model=model)
                return
        raise LostReplicaError(f"{self._segmenter.server} ended its answer too early")


def _read_to_the_end(lines: Iterator[object]) -> None:
    """So that the connection can be used again. The answer is whole, whatever becomes of the replica now."""
    with contextlib.suppress(Cancelled, LisaError):
        for _ in lines:
            pass


def _pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    """Waits, but not for a command that was cancelled."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not cancelled():
        time.sleep(0.02)


def _event(line: dict[str, Any], size: tuple[int, int]) -> Event:
    if line.get("event") != "error":
        try:
            return checked_event(event_from(line, PixelBudget(MOST_MASK_PIXELS)), size)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            sentence = f"the server's answer cannot be read: {type(error).__name__}: {error}"
            raise UnreadableAnswerError(sentence) from error
    kind, text = line.get("kind"), str(line.get("text"))
    if kind == "again":
        raise LostReplicaError(text)
    if kind == "full":
        raise UnreachableError(text)
    if kind in ("command", "image"):
        raise (CommandError if kind == "command" else ImageError)(text)
    raise LisaError(f"the server refused the request: {text}") if kind == "request" else RuntimeError(text)
