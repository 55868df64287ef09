# SPDX-License-Identifier: Apache-2.0
"""One open page: handles the messages of its WebSocket, and sends it state, answers and images."""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from lisa_ros.dialogue.operators import OperatorError, operator_name
from lisa_ros.msg import Audio
from lisa_ros.nodes.console.camera_view import CameraView
from lisa_ros.nodes.console.conversation import ANSWERING, Conversation, Exchange
from lisa_ros.nodes.console.feed import MOST_FRAMES_A_SECOND, LiveFrame
from lisa_ros.nodes.console.link import LinkError
from lisa_ros.nodes.console.speech_link import PageMicrophone, SoundError
from lisa_ros.segmentation.errors import LisaError

HEARTBEAT_S = 0.5
_LONGEST_TEXT = 20_000
_LONGEST_TAG = 64
_MOST_NUMBERS = 64
_MOST_UNSENT = 2000
_MOST_UNSENT_BYTES = 2**24
"""Maximum number of unsent messages of a page, and of their bytes. Beyond it the page is closed; it connects again by
itself."""
_WIDTHS = (160, 3840)
_PART = 2**14
LAST, MORE = b"\0", b"\1"
"""A file, or a longer message, is sent in parts of `_PART` bytes. The byte before each part says whether more follow.
So a page on a slow link receives something all the time, and does not take the connection for dead."""


class PageError(LisaError):
    """A message of a page that is invalid; the text says why."""


class Page:
    """Serves one WebSocket until it ends."""

    def __init__(self, socket: WebSocket, cameras: Mapping[str, CameraView]) -> None:
        """Takes an accepted WebSocket and the cameras by their namespaces."""
        self._socket, self._cameras = socket, cameras
        self._camera: CameraView | None = None
        self._conversation: Conversation | None = None
        self._viewing = False
        self._microphone = PageMicrophone()
        self._unsent: OrderedDict[object, str | bytes] = OrderedDict()
        self._dialogues = 0
        self._frame_wanted = asyncio.Event()
        self._width = _WIDTHS[0]
        self._live: LiveFrame | None = None
        self._next_frame: asyncio.Task[LiveFrame] | None = None
        self._frame_number = 0
        self._has_data = asyncio.Event()
        self._unsent_bytes = 0
        self._too_slow = asyncio.Event()

    async def serve(self) -> None:
        """Runs until the page is closed."""
        works = (self._receive(), self._send(), self._send_state(), self._choose_frames(), self._too_slow.wait())
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(one) for one in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) and not isinstance(error, WebSocketDisconnect | RuntimeError):
                    raise error
        finally:
            for task in tasks:
                task.cancel()
            self._leave_camera()

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("text") is not None:
                    await self._handle(message["text"])
                else:
                    self._microphone.add(message["bytes"])
            except (PageError, SoundError) as error:
                self._queue({"type": "bad_message", "detail": str(error)})

    async def _handle(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PageError("The message is no JSON.") from error
        if not isinstance(message, dict):
            raise PageError("The message is no JSON object.")
        kind = message.get("type")
        handler = {
            "hello": self._hello,
            "view": self._view,
            "frame": self._frame,
            "command": self._command,
            "cancel": self._cancel,
            "reset": self._reset,
            "undo": self._undo,
            "talk": self._talk,
        }.get(kind if isinstance(kind, str) else "")
        if handler is None:
            raise PageError("The message has no known type.")
        if handler != self._hello and self._conversation is None:
            raise PageError("The first message must be hello, with the operator's name.")
        await handler(message)

    async def _hello(self, message: dict[str, Any]) -> None:
        operator, namespace = message.get("operator"), message.get("camera")
        try:
            operator = operator_name(_text(operator, 1000))
        except OperatorError as error:
            self._queue({"type": "operator_refused", "detail": str(error)})
            return
        camera = self._cameras.get(namespace if isinstance(namespace, str) else "") or next(
            iter(self._cameras.values())
        )
        self._leave_camera()
        self._camera, self._conversation = camera, camera.conversation(operator)
        camera.open_page()
        self._queue(
            {"type": "welcome", "operator": operator, "camera": camera.namespace, "cameras": list(self._cameras)}
        )
        self._queue(camera.state())
        self._conversation.add_listener(self._on_change)
        self._set_visible(True)

    async def _view(self, message: dict[str, Any]) -> None:
        self._set_visible(message.get("visible") is True)

    async def _frame(self, message: dict[str, Any]) -> None:
        width = message.get("width")
        if not isinstance(width, int):
            raise PageError("A frame needs a width in pixels.")
        self._width = min(max(width, _WIDTHS[0]), _WIDTHS[1])
        self._frame_wanted.set()

    async def _command(self, message: dict[str, Any]) -> None:
        text = _text(message.get("text"), _LONGEST_TEXT).strip()
        references = [int(one) for one in _numbers(message.get("references", [])) if 0 < one < 2**32]
        pointing = {
            "points": _tuples(message.get("points", []), 2),
            "boxes": _tuples(message.get("boxes", []), 4),
        }
        if any(value < 0 or value >= 2**31 for box in pointing["boxes"] for value in box):
            raise PageError("A box needs four numbers of 0 or more.")
        stamp = _numbers(message.get("stamp") or [])
        if not text and not pointing["points"] and not pointing["boxes"]:
            raise PageError("The command is empty.")
        tag = _text(message.get("tag", ""), _LONGEST_TAG)
        assert self._camera is not None and self._conversation is not None
        if tag and self._conversation.knows(tag):  # its connection was lost, and the page sent it again
            self._queue({"type": "already_sent", "tag": tag})
            return
        seconds = (int(stamp[0]), int(stamp[1])) if len(stamp) == 2 and _is_stamp(stamp) else None
        try:
            self._camera.send(self._conversation.operator, text, references, pointing, seconds, tag)
        except LinkError as error:
            self._queue({"type": "not_sent", "tag": tag, "code": str(error)})

    async def _cancel(self, message: dict[str, Any]) -> None:
        assert self._camera is not None and self._conversation is not None
        self._camera.cancel(self._conversation.operator, _text(message.get("id"), 100))

    async def _reset(self, message: dict[str, Any]) -> None:
        await self._change("reset")

    async def _undo(self, message: dict[str, Any]) -> None:
        await self._change("undo_reset")

    async def _change(self, method: str) -> None:
        assert self._camera is not None and self._conversation is not None
        try:
            await getattr(self._camera, method)(self._conversation.operator)
        except LinkError as error:
            self._queue({"type": "failed", "what": method, "detail": str(error)})

    async def _talk(self, message: dict[str, Any]) -> None:
        """The talk button was pressed (`rate`: of the sound in the binary messages after it) or released (`said`)."""
        assert self._camera is not None and self._conversation is not None
        rate, said = message.get("rate"), message.get("said")
        if isinstance(said, bool):
            self._microphone.end(Audio.RELEASED if said else Audio.DISCARDED)
        elif type(rate) is not int:
            raise PageError("The microphone's sound needs a rate in samples a second.")
        elif not self._camera.speech.available:
            self._queue({"type": "not_heard", "code": "absent"})
        elif not self._microphone.press(self._camera.speech, self._conversation.operator, rate):
            self._queue({"type": "not_heard", "code": "busy"})

    def _set_visible(self, visible: bool) -> None:
        """Starts or ends the live images; a hidden page needs none."""
        if self._camera is not None and visible != self._viewing:
            self._viewing = visible
            (self._camera.feed.add_viewer if visible else self._camera.feed.remove_viewer)()
        if not visible and self._next_frame is not None:
            self._next_frame.cancel()
            self._next_frame = None

    def _leave_camera(self) -> None:
        self._set_visible(False)
        self._live, self._frame_number = None, 0  # each camera counts its own images
        self._microphone.end(Audio.DISCARDED)
        if self._camera is not None and self._conversation is not None:
            self._conversation.remove_listener(self._on_change)
            self._camera.close_page()
        self._camera = self._conversation = None

    def _on_change(self, message: dict[str, Any], exchange: Exchange | None) -> None:
        if exchange is not None and exchange.frame is not None:
            size = list(exchange.size) if exchange.size else None
            self._queue(packed({"kind": "answer", "id": exchange.id, "size": size}, exchange.frame))
        elif exchange is None:
            self._queue(message)

    async def _send_state(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._queue(self._camera.state() if self._camera else {"type": "beat"})

    async def _choose_frames(self) -> None:
        """Sends live images, each after the page's request for it: a slow link gets fewer, but never older ones."""
        while True:
            await self._frame_wanted.wait()
            self._frame_wanted.clear()
            if self._camera is None or not self._viewing:
                continue
            waiting = asyncio.create_task(self._camera.feed.next_frame(self._frame_number, self._width))
            self._next_frame = waiting
            await asyncio.wait({waiting})
            if self._next_frame is not waiting:  # the page was hidden, or shows another camera
                self._frame_wanted.set()
                continue
            self._live = waiting.result()
            self._frame_number = self._live.number
            self._has_data.set()
            await asyncio.sleep(0.9 / MOST_FRAMES_A_SECOND)

    def _queue(self, message: dict[str, Any] | bytes) -> None:
        if self._too_slow.is_set():
            return
        data = message if isinstance(message, bytes) else _compact(message)
        key = self._key(message)
        self._unsent_bytes += len(data) - len(self._unsent.get(key, ""))
        self._unsent[key] = data
        self._has_data.set()
        if len(self._unsent) > _MOST_UNSENT or self._unsent_bytes > _MOST_UNSENT_BYTES:
            self._unsent.clear()
            self._too_slow.set()

    def _key(self, message: dict[str, Any] | bytes) -> object:
        """Equal for parts of an answer that replace each other while they wait: each has all masks before it.

        None takes the place of one that stands before a whole dialogue: what is sent last must be the newest.
        """
        if isinstance(message, bytes):
            return object()
        self._dialogues += message["type"] == "dialogue"
        if message["type"] != "exchange" or message["exchange"]["state"] != ANSWERING:
            return object()
        return self._dialogues, message["exchange"]["id"]

    async def _send(self) -> None:
        while True:
            await self._has_data.wait()
            self._has_data.clear()
            while self._unsent:
                _, data = self._unsent.popitem(last=False)
                self._unsent_bytes -= len(data)
                await (self._send_file(data) if isinstance(data, bytes) else self._socket.send_text(data))
            if self._live is not None:
                frame, self._live = self._live, None
                header = {"kind": "live", "stamp": list(frame.stamp), "size": list(frame.size)}
                await self._send_file(packed(header, frame.jpeg))

    async def _send_file(self, data: bytes) -> None:
        for start in range(0, len(data), _PART):
            mark = MORE if start + _PART < len(data) else LAST
            await self._socket.send_bytes(mark + data[start : start + _PART])


def _compact(message: dict[str, Any]) -> str | bytes:
    text = json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text if len(text) <= _PART else packed({"kind": "message"}, text.encode())


def packed(header: dict[str, Any], file: bytes) -> bytes:
    """What is sent of a file: the header's length in 4 bytes, big-endian, the header as JSON, the file."""
    head = json.dumps(header).encode()
    return len(head).to_bytes(4, "big") + head + file


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str):
        raise PageError("A text is missing.")
    if len(value) > longest:
        raise PageError(f"A text has {len(value)} characters; at most {longest} are possible.")
    return value.encode(errors="replace").decode()


def _numbers(value: Any) -> list[float]:
    right = isinstance(value, list) and len(value) <= _MOST_NUMBERS
    if not right or not all(type(one) in (int, float) for one in value):
        raise PageError("A list of numbers is missing.")
    try:
        numbers = [float(one) for one in value]
    except OverflowError:  # JSON's whole numbers have no end
        numbers = [math.inf]
    if not all(map(math.isfinite, numbers)):
        raise PageError("A list of numbers is missing; one is not finite.")
    return numbers


def _tuples(value: Any, length: int) -> list[list[float]]:
    if not isinstance(value, list) or len(value) > _MOST_NUMBERS:
        raise PageError("A list of points or boxes is missing.")
    numbers = [_numbers(one) for one in value]
    if any(len(one) != length for one in numbers):
        raise PageError(f"A point has 2 numbers and a box 4; one has another count than {length}.")
    return numbers


def _is_stamp(stamp: list[float]) -> bool:
    return 0 <= stamp[0] < 2**31 and 0 <= stamp[1] < 10**9
