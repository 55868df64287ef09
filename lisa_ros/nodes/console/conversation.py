# SPDX-License-Identifier: Apache-2.0
"""One operator's commands to one node and their answers, as all pages of that operator show them. Uses no ROS."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MOST_EXCHANGES = 50
_MOST_FRAMES = 8
"""Answers whose images are kept, as JPEG files of about 100 kB."""

MOST_RUNS = 600_000
"""Runs of all masks of a conversation: about 3 MB as JSON. A page is sent all at once when it opens, and is closed
where more than 16 MiB wait for it."""

SENT, ANSWERING, DONE, LOST = "sent", "answering", "done", "lost"
"""States of an exchange. LOST: the node ended, or stopped reporting, before it answered."""

NOT_SENT = "NOT_SENT"

Stamp = tuple[int, int]
"""Seconds and nanoseconds of an image's header."""


@dataclass
class Exchange:
    """A command and the part of its answer that was received so far.

    Attributes:
        id: of the command.
        text: of the command.
        heard: the recogniser's text, before it was corrected to `text`; empty: the command was typed.
        references: turns that the command refers to.
        pointing: what was pointed at: {"points": [[u, v] ...], "boxes": [[x, y, width, height] ...]}, pixels.
        state: SENT, ANSWERING, DONE or LOST.
        status: name of the Segmentation's status once it is DONE.
        detail: the reason in one sentence where the status is not OK.
        answer: the explanation so far, without [SEG].
        spoken: the sentence to be read aloud, once it is DONE.
        objects: see object_json.
        size: (width, height) of the image, pixels.
        stamp: of the image; None: not known yet.
        turn: its number in the dialogue; 0: none.
        timing_ms: "queued", "first_mask" and "total" as the node reports them, and "round_trip": from the command's
            sending to the answer's arrival at the console.
        late: the answer came after the exchange was LOST.
        sent_s: time.monotonic() when the console sent the command; 0: it was sent by other means.
        tag: by which the page that sent the command knows that it came; empty: it was sent by other means.
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
    tag: str = ""
    frame: bytes | None = None

    def json(self) -> dict[str, Any]:
        """All of it but the frame, for a page."""
        shown = {name: value for name, value in vars(self).items() if name != "frame"}
        return {**shown, "has_frame": self.frame is not None}


class Conversation:
    """The exchanges of one operator with one node, oldest first. Used on the event loop's thread only."""

    def __init__(self, operator: str) -> None:
        """Begins empty."""
        self.operator = operator
        self.loaded = False
        """Whether the node's turns were fetched since the conversation or the node started."""
        self._exchanges: OrderedDict[str, Exchange] = OrderedDict()
        self._before_reset: list[Exchange] = []
        self._listeners: set[Callable[[dict[str, Any], Exchange | None], None]] = set()

    @property
    def exchanges(self) -> list[Exchange]:
        """All that are kept."""
        return list(self._exchanges.values())

    @property
    def has_listeners(self) -> bool:
        """Whether a page shows it."""
        return bool(self._listeners)

    def add_listener(self, listener: Callable[[dict[str, Any], Exchange | None], None]) -> None:
        """Calls the listener with each message for pages, and with the exchange whose image belongs to it."""
        self._listeners.add(listener)
        listener(self.snapshot(), None)
        for exchange in self.exchanges:
            if exchange.frame is not None:
                listener({"type": "frame_of", "id": exchange.id}, exchange)

    def remove_listener(self, listener: Callable[[dict[str, Any], Exchange | None], None]) -> None:
        """Stops calling the listener."""
        self._listeners.discard(listener)

    def get(self, identity: str) -> Exchange | None:
        """The exchange of a command's id."""
        return self._exchanges.get(identity)

    def knows(self, tag: str) -> bool:
        """Whether a page has sent a command with this tag, also where the dialogue was reset since."""
        return any(one.tag == tag for one in (*self._before_reset, *self._exchanges.values()))

    def pending(self) -> list[Exchange]:
        """Exchanges without an answer yet."""
        return [one for one in self._exchanges.values() if one.state in (SENT, ANSWERING)]

    def put(self, exchange: Exchange) -> None:
        """Adds an exchange, or reports that one has changed."""
        if exchange.id not in self._exchanges:
            self._exchanges[exchange.id] = exchange
            while len(self._exchanges) > _MOST_EXCHANGES:
                self._exchanges.popitem(last=False)
        left_out = self._leave_out_masks()
        if exchange.turn:
            self._before_reset = []  # the node restores a dialogue only until the next turn
            self._number_anew_from(exchange)
        self.notify({"type": "exchange", "exchange": exchange.json()})
        if left_out:
            self.notify({"type": "masks_left_out", "objects": left_out})

    def _number_anew_from(self, exchange: Exchange) -> None:
        """Takes the numbers of turns that the node has forgotten, by a restart or a reset elsewhere: it counts anew.

        They stay on the page, and no command can refer to them.
        """
        later = [one for one in self._exchanges.values() if one.turn >= exchange.turn and one is not exchange]
        if any(one.turn == exchange.turn for one in later):
            for one in later:
                one.turn = 0
            self.notify(self.snapshot())

    def put_frame(self, exchange: Exchange, jpeg: bytes) -> None:
        """Sets an answer's image; drops those of older answers beyond the newest few."""
        exchange.frame = jpeg
        with_frame = [one for one in self._exchanges.values() if one.frame is not None]
        for older in with_frame[:-_MOST_FRAMES]:
            older.frame = None
        self.notify({"type": "frame_of", "id": exchange.id}, exchange)

    def merge_turns(self, turns: list[Exchange]) -> None:
        """Adds the node's turns, oldest first, where they are not shown yet; what is shown keeps its order.

        If it has another command than the one that is shown as a turn, that dialogue was forgotten meanwhile: what is
        shown of it has no number any more.
        """
        self.loaded = True
        if turns:
            self._before_reset = []
        order = list(self._exchanges.values())
        texts = {one.turn: one.text for one in turns}
        if any(texts.get(one.turn, one.text) != one.text for one in order):
            for one in order:
                one.turn = one.turn if texts.get(one.turn) == one.text else 0
        shown = {one.turn for one in order if one.turn}
        for turn in turns:
            if turn.turn not in shown:
                order.insert(_place(turn, order), turn)
        self._exchanges = OrderedDict((one.id, one) for one in order)
        self._leave_out_masks()
        self.notify(self.snapshot())

    def _leave_out_masks(self) -> list[tuple[str, int]]:
        """Drops masks beyond MOST_RUNS, those of the oldest exchanges first; a page says which objects have none.

        Returns:
            the exchange's id and the index in its objects, for each mask that was dropped.
        """
        room, left_out = MOST_RUNS, []
        for exchange in reversed(self._exchanges.values()):
            for index, found in enumerate(exchange.objects):
                if len(found["runs"]) > room:
                    found["runs"], found["mask_left_out"] = [], True
                    left_out.append((exchange.id, index))
                room -= len(found["runs"])
        return left_out

    def reset(self) -> None:
        """The dialogue was reset."""
        pending = self.pending()
        # Of a second reset, too: the node restores what the first one deleted.
        deleted = [*self._before_reset, *(one for one in self._exchanges.values() if one not in pending)]
        self._before_reset = deleted[-_MOST_EXCHANGES:]
        self._exchanges = OrderedDict((one.id, one) for one in pending)
        self.notify({**self.snapshot(), "reset": True})

    def undo_reset(self) -> None:
        """The reset was undone."""
        kept = [*self._before_reset, *self._exchanges.values()]
        self._before_reset = []
        self._exchanges = OrderedDict((one.id, one) for one in kept)
        self._leave_out_masks()
        self.notify(self.snapshot())
        for exchange in self.exchanges:
            if exchange.frame is not None:
                self.notify({"type": "frame_of", "id": exchange.id}, exchange)

    def lose_pending(self, detail: str) -> list[Exchange]:
        """Marks what has no answer yet as lost; returns it."""
        lost = self.pending()
        for exchange in lost:
            exchange.state, exchange.detail = LOST, detail
            self.put(exchange)
        return lost

    def snapshot(self) -> dict[str, Any]:
        """The whole conversation, for a page that opens."""
        return {
            "type": "dialogue",
            "operator": self.operator,
            "exchanges": [one.json() for one in self._exchanges.values()],
            "can_undo_reset": bool(self._before_reset),
        }

    def notify(self, message: dict[str, Any], exchange: Exchange | None = None) -> None:
        """Sends a message to every page of the operator."""
        for listener in list(self._listeners):
            listener(message, exchange)


def _place(turn: Exchange, order: list[Exchange]) -> int:
    """Before the next turn; without one after the last turn, so before commands without an answer."""
    later = (i for i, one in enumerate(order) if one.turn > turn.turn)
    after_the_last = 1 + max((i for i, one in enumerate(order) if one.turn), default=-1)
    return next(later, after_the_last)


def finish(exchange: Exchange) -> None:
    """Marks an exchange as DONE: its answer is complete."""
    exchange.late = exchange.state == LOST
    exchange.state = DONE
    if exchange.sent_s:
        exchange.timing_ms["round_trip"] = 1000 * (time.monotonic() - exchange.sent_s)
