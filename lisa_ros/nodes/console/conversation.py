# SPDX-License-Identifier: Apache-2.0
"""What one operator said to one node and what came back, as all pages of that operator show it. Knows no ROS."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MOST_EXCHANGES = 50
_MOST_FRAMES = 8
"""Frames of answers that are kept, as JPEG: about 100 kB each."""

SENT, ANSWERING, DONE, LOST = "sent", "answering", "done", "lost"
"""States of an exchange. LOST: the node ended, or fell silent, before it answered."""

NOT_SENT = "NOT_SENT"

Stamp = tuple[int, int]
"""Seconds and nanoseconds of an image's header."""


@dataclass
class Exchange:
    """A command and its answer as far as it has come.

    Attributes:
        id: of the command.
        text: the operator's.
        heard: the recogniser's text, before it was corrected to `text`; empty: the command was typed.
        references: turns that the command refers to.
        pointing: what was pointed at: {"points": [[u, v] ...], "boxes": [[x, y, width, height] ...]}, pixels.
        state: SENT, ANSWERING, DONE or LOST.
        status: name of the Segmentation's status once it is DONE.
        detail: one sentence, why, where the status is not OK.
        answer: the explanation so far, without marks.
        spoken: the sentence for a voice, once it is DONE.
        objects: see object_json.
        size: (width, height) of the image, pixels.
        stamp: of the image; None: not known yet.
        turn: its number in the dialogue; 0: none.
        timing_ms: "queued", "first_mask", "total" as the node reports them, and "round_trip" from the command's sending
            to its answer at the console.
        late: the answer came after the exchange was LOST.
        sent_s: time.time() when the command was handed to ROS; 0: it came from elsewhere.
        frame: the image as a JPEG file.
    """

    id: str
    text: str
    references: list[int] = field(default_factory=list)
    pointing: dict[str, list[list[float]]] = field(default_factory=dict)
    state: str = SENT
    status: str = ""
    detail: str = ""
    answer: str = ""
    spoken: str = ""
    objects: list[dict[str, Any]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    stamp: Stamp | None = None
    turn: int = 0
    timing_ms: dict[str, float] = field(default_factory=dict)
    late: bool = False
    sent_s: float = 0.0
    heard: str = ""
    frame: bytes | None = None

    def json(self) -> dict[str, Any]:
        """All of it but the frame, for a page."""
        shown = {name: value for name, value in vars(self).items() if name != "frame"}
        return {**shown, "has_frame": self.frame is not None}


class Conversation:
    """The exchanges of one operator with one node, oldest first. Used by the event loop's thread alone."""

    def __init__(self, operator: str) -> None:
        """Begins empty."""
        self.operator = operator
        self.loaded = False
        """Whether the node's turns were fetched since the conversation or the node began."""
        self._exchanges: OrderedDict[str, Exchange] = OrderedDict()
        self._before_reset: list[Exchange] = []
        self._listeners: set[Callable[[dict[str, Any], Exchange | None], None]] = set()

    @property
    def exchanges(self) -> list[Exchange]:
        """All that are kept."""
        return list(self._exchanges.values())

    @property
    def watched(self) -> bool:
        """Whether a page shows it."""
        return bool(self._listeners)

    def watch(self, listener: Callable[[dict[str, Any], Exchange | None], None]) -> None:
        """Calls the listener with each change, and with the exchange whose frame goes with it."""
        self._listeners.add(listener)
        listener(self.snapshot(), None)
        for exchange in self.exchanges:
            if exchange.frame is not None:
                listener({"type": "frame_of", "id": exchange.id}, exchange)

    def unwatch(self, listener: Callable[[dict[str, Any], Exchange | None], None]) -> None:
        """Stops calling the listener."""
        self._listeners.discard(listener)

    def get(self, identity: str) -> Exchange | None:
        """The exchange of a command's id."""
        return self._exchanges.get(identity)

    def pending(self) -> list[Exchange]:
        """Those without an answer yet."""
        return [one for one in self._exchanges.values() if one.state in (SENT, ANSWERING)]

    def put(self, exchange: Exchange) -> None:
        """Adds an exchange, or reports that one has changed."""
        if exchange.id not in self._exchanges:
            self._exchanges[exchange.id] = exchange
            while len(self._exchanges) > _MOST_EXCHANGES:
                self._exchanges.popitem(last=False)
        self.tell({"type": "exchange", "exchange": exchange.json()})

    def put_frame(self, exchange: Exchange, jpeg: bytes) -> None:
        """The image of an answer has come."""
        exchange.frame = jpeg
        with_frame = [one for one in self._exchanges.values() if one.frame is not None]
        for older in with_frame[:-_MOST_FRAMES]:
            older.frame = None
        self.tell({"type": "frame_of", "id": exchange.id}, exchange)

    def merge_turns(self, turns: list[Exchange]) -> None:
        """The node's turns, oldest first: those that are not shown yet go before what is."""
        self.loaded = True
        shown = {one.turn for one in self._exchanges.values() if one.turn}
        earlier = [turn for turn in turns if turn.turn not in shown]
        merged = sorted([*earlier, *(one for one in self._exchanges.values() if one.turn)], key=lambda one: one.turn)
        others = [one for one in self._exchanges.values() if not one.turn]
        self._exchanges = OrderedDict((one.id, one) for one in [*merged, *others])
        self.tell(self.snapshot())

    def forget(self) -> None:
        """The dialogue was reset."""
        pending = self.pending()
        self._before_reset = [one for one in self._exchanges.values() if one not in pending]
        self._exchanges = OrderedDict((one.id, one) for one in pending)
        self.tell({**self.snapshot(), "reset": True})

    def restore(self) -> None:
        """The reset was undone."""
        kept = [*self._before_reset, *self._exchanges.values()]
        self._before_reset = []
        self._exchanges = OrderedDict((one.id, one) for one in kept)
        self.tell(self.snapshot())
        for exchange in self.exchanges:
            if exchange.frame is not None:
                self.tell({"type": "frame_of", "id": exchange.id}, exchange)

    def lose_pending(self, detail: str) -> list[Exchange]:
        """Marks what has no answer yet as lost; returns it."""
        lost = self.pending()
        for exchange in lost:
            exchange.state, exchange.detail = LOST, detail
            self.put(exchange)
        return lost

    def snapshot(self) -> dict[str, Any]:
        """Everything, for a page that opens."""
        return {
            "type": "dialogue",
            "operator": self.operator,
            "exchanges": [one.json() for one in self._exchanges.values()],
            "can_undo_reset": bool(self._before_reset),
        }

    def tell(self, message: dict[str, Any], exchange: Exchange | None = None) -> None:
        """Sends a message to every page of the operator."""
        for listener in list(self._listeners):
            listener(message, exchange)


def answered(exchange: Exchange) -> None:
    """Notes that the answer is whole."""
    exchange.late = exchange.state == LOST
    exchange.state = DONE
    if exchange.sent_s:
        exchange.timing_ms["round_trip"] = 1000 * (time.time() - exchange.sent_s)
