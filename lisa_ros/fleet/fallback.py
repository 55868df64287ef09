# SPDX-License-Identifier: Apache-2.0
"""A server's model, and one on the robot that answers while the server cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Unpack

from lisa_ros.fleet.connection import UnreachableError
from lisa_ros.fleet.remote_segmenter import RemoteImage, RemoteSegmenter
from lisa_ros.segmentation.answers import Event, Finished, Image, Reference
from lisa_ros.segmentation.interface import AnswerOptions, Capabilities, DeviceMemory, Segmenter, release_all
from lisa_ros.segmentation.turns import Turn

CHECK_S = 1.0
"""Between two attempts to reach a lost server."""
CHECKS = 2
"""Attempts in a row that must succeed before the server is asked again."""


class FallbackImage:
    """An image for both models; the local one encodes it when it is needed."""

    def __init__(self, remote: RemoteImage, image: Image, local: Segmenter) -> None:
        """Takes the image as the server gets it, and as it is."""
        self.remote = remote
        self._image = image
        self._local = local
        self._encoded: Any = None
        self._lock = threading.Lock()

    def encoded(self) -> Any:
        """What the local model made of it."""
        with self._lock:
            if self._encoded is None:
                self._encoded = self._local.encode(self._image)
            return self._encoded

    def release(self) -> None:
        """Frees what the local model computed."""
        with self._lock:
            release_all(self.remote, *(() if self._encoded is None else (self._encoded,)))


class FallbackSegmenter:
    """Asks the server; while it cannot be reached, the local model."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, remote: RemoteSegmenter, local: Segmenter, say: Callable[[str], None]) -> None:
        """Takes both models; `say` gets a sentence each time that the other one takes over."""
        self.remote = remote
        self._local = local
        self._say = say
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Of the model that answers now."""
        return self._local.name if self._lost.is_set() else self.remote.name

    @property
    def is_local(self) -> bool:
        """Whether the local model answers now."""
        return self._lost.is_set()

    def encode(self, image: Image) -> FallbackImage:
        """Prepares the image for both."""
        return FallbackImage(self.remote.encode(image), image, self._local)

    def session(
        self, encoded: FallbackImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> FallbackSession:
        """Opens a dialogue about an image; each command goes to the model that can answer it."""
        return FallbackSession(self, encoded, tuple(turns), max_history_tokens)

    def open(self, local: bool, encoded: FallbackImage, turns: Sequence[Turn], max_history_tokens: int) -> Any:
        """A session of one of the models."""
        if local:
            return self._local.session(encoded.encoded(), turns, max_history_tokens=max_history_tokens)
        return self.remote.session(encoded.remote, turns, max_history_tokens=max_history_tokens)

    def name_of(self, local: bool) -> str:
        """The name of one of the models."""
        return self._local.name if local else self.remote.name

    def lose(self, error: Exception) -> None:
        """The server cannot be reached: the local model answers until it can."""
        with self._lock:
            if self._lost.is_set() or self._ended.is_set():
                return
            self._lost.set()
            threading.Thread(target=self._watch, name="lisa_server_check", daemon=True).start()
        self._say(f"The local model {self._local.name} answers: {error}")

    def memory(self) -> DeviceMemory:
        """Of the local model."""
        return self._local.memory()

    def release(self) -> None:
        """Frees the local model and closes the connections."""
        self._ended.set()
        release_all(self.remote, self._local)

    def _watch(self) -> None:
        """Asks the server until it has answered CHECKS times in a row."""
        reached = 0
        while reached < CHECKS and not self._ended.wait(CHECK_S):
            try:
                self.remote.check()
                reached += 1
            except Exception:  # also what no server should send: otherwise the server would never be asked again
                reached = 0
        if not self._ended.is_set():
            self._lost.clear()
            self._say(f"{self.remote.name} answers again.")


class FallbackSession:
    """One dialogue about one image, answered by either model."""

    def __init__(
        self, segmenter: FallbackSegmenter, encoded: FallbackImage, turns: tuple[Turn, ...], max_history_tokens: int
    ) -> None:
        """See FallbackSegmenter.session."""
        self._segmenter = segmenter
        self._encoded = encoded
        self._turns = turns
        self._max_history_tokens = max_history_tokens

    def segment(
        self, command: str, references: Sequence[Reference] = (), **options: Unpack[AnswerOptions]
    ) -> Iterator[Event]:
        """See segmentation.interface.Session. `Finished.model` says which model answered.

        When the server is lost in the middle of an answer, the local model answers the whole command: Finished has its
        answer alone, after events of the server's.
        """

        def ask(local: bool) -> Iterator[Event]:
            session = self._segmenter.open(local, self._encoded, self._turns, self._max_history_tokens)
            events: Iterator[Event] = session.segment(command, references, **options)
            name = self._segmenter.name_of(local)
            return (replace(one, model=one.model or name) if isinstance(one, Finished) else one for one in events)

        given = 0
        if not self._segmenter.is_local:
            try:
                for event in ask(local=False):
                    given += 1
                    yield event
                return
            except UnreachableError as error:
                self._segmenter.lose(error)
        for event in ask(local=True):
            if not given or isinstance(event, Finished):
                yield event
