# SPDX-License-Identifier: Apache-2.0
"""One camera with its LISA node, and the conversation of each operator with that node."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from rclpy.node import Node

from lisa_ros.action import Segment
from lisa_ros.msg import Heard, Segmentation
from lisa_ros.nodes.common.conversions import ImageError
from lisa_ros.nodes.console.answer_json import (
    exchange_of_turn,
    fill_exchange,
    heard_json,
    object_json,
    objects_json,
    size_of,
)
from lisa_ros.nodes.console.conversation import ANSWERING, DONE, LOST, Conversation, Exchange, Stamp, finish
from lisa_ros.nodes.console.feed import CameraFeed, encode_jpeg
from lisa_ros.nodes.console.link import LinkError, LisaLink
from lisa_ros.nodes.console.node_monitor import SILENT_S
from lisa_ros.nodes.console.parameters import topic_prefix
from lisa_ros.nodes.console.speech_link import SpeechLink
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.srv import GetDialogue, ResetDialogue, UndoDialogue

_MOST_CONVERSATIONS = 64
_MOST_FRAMES = 4
_WIDEST_FRAME = 1920
_CAMERA_SILENT_S = 1.4
"""A camera without an image for this long is lost. Pages are informed by the next heartbeat, at most 0.5 s later."""
_REASON_S = 2.0
"""How long after a rejection the answer with its reason may take."""

_LOAD_AGAIN_S = 1.0

NODE_RESTARTED = "node_restarted"
NODE_LOST = "node_lost"
POINTED_TEXT = "this"
CONNECTING = "connecting"
"""The node publishes diagnostics, but its action is not discovered yet."""


class CameraView:
    """What pages need of one camera. Used on the event loop's thread only."""

    def __init__(
        self,
        node: Node,
        namespace: str,
        compressed: bool,
        loop: asyncio.AbstractEventLoop,
        run_in_ros: Callable[..., None],
    ) -> None:
        """See LisaLink and CameraFeed.

        Args:
            node: the console's.
            namespace: of the camera; empty: the console's own.
            compressed: whether to subscribe to compressed images.
            loop: the pages' event loop.
            run_in_ros: runs a function on the executor's thread.
        """
        prefix = topic_prefix(namespace)
        self.namespace, self._loop = namespace, loop
        self.feed = CameraFeed(node, node.resolve_topic_name(f"{prefix}image"), compressed, loop, run_in_ros)
        self.link = LisaLink(node, f"{prefix}lisa", compressed, loop, run_in_ros, self)
        self.speech = SpeechLink(node, f"{prefix}speech", loop, run_in_ros, self.on_heard)
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()
        self._frames: OrderedDict[Stamp, bytes] = OrderedDict()
        self._opened_s = time.monotonic()
        self._pages = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def open_page(self) -> None:
        """A page shows this camera."""
        self._pages += 1
        self._opened_s = time.monotonic()
        self.link.open()
        self.speech.open(True)

    def close_page(self) -> None:
        """A page shows this camera no longer."""
        self._pages -= 1

    def conversation(self, operator: str) -> Conversation:
        """The operator's conversation; a new one is empty until `tick` has loaded the node's earlier turns."""
        if operator not in self._conversations:
            self._conversations[operator] = Conversation(operator)
            self._drop_conversations(operator)
        self._conversations.move_to_end(operator)
        return self._conversations[operator]

    def _drop_conversations(self, keep: str) -> None:
        """Drops conversations that no page shows, oldest first, while there are too many."""
        unused = [name for name, one in self._conversations.items() if not one.has_listeners and name != keep]
        for name in unused[: max(0, len(self._conversations) - _MOST_CONVERSATIONS)]:
            del self._conversations[name]

    def send(
        self,
        operator: str,
        text: str,
        references: list[int],
        pointing: dict[str, Any],
        stamp: Stamp | None,
        tag: str = "",
    ) -> None:
        """Sends an operator's command.

        Args:
            operator: who sends it.
            text: the command; may be empty if the operator pointed.
            references: turns that it refers to.
            pointing: see Exchange.
            stamp: of the image that was pointed at.
            tag: see Exchange.

        Raises:
            LinkError: the node is not running.
        """
        self.tick()  # notices a node that was restarted since the last tick
        if not self.link.ready:
            raise LinkError(NODE_LOST)
        exchange = Exchange(uuid.uuid4().hex, text or POINTED_TEXT, references, pointing, stamp=stamp, tag=tag)
        self.link.send(exchange, operator, "" if text else "mask_only")
        self.conversation(operator).put(exchange)

    def cancel(self, operator: str, identity: str) -> None:
        """Cancels a command, if it is this operator's."""
        exchange = self.conversation(operator).get(identity)
        if exchange is None or exchange.state == DONE:
            return
        if exchange.heard:
            self.speech.cancel(operator)  # the goal is the speech node's
        else:
            self.link.cancel(identity)

    async def reset(self, operator: str) -> None:
        """Deletes the dialogue. Raises a LinkError."""
        await self.link.call(ResetDialogue, operator_id=operator)
        self.conversation(operator).reset()

    async def undo_reset(self, operator: str) -> None:
        """Restores the dialogue that was deleted last. Raises a LinkError."""
        await self.link.call(UndoDialogue, operator_id=operator, change=UndoDialogue.Request.RESET)
        self.conversation(operator).undo_reset()

    async def load(self, conversation: Conversation) -> None:
        """Fetches the node's earlier turns, if the node is running."""
        try:
            response = await self.link.call(GetDialogue, operator_id=conversation.operator)
        except LinkError:
            # The service is discovered later than the action, or the node was busy.
            await asyncio.sleep(_LOAD_AGAIN_S)
            conversation.loaded = False
            return
        conversation.merge_turns([exchange_of_turn(turn) for turn in response.turns])

    def tick(self) -> None:
        """Ten times a second: updates the node's state, and marks commands as lost if the node has ended."""
        was_alive = self.link.monitor.alive
        restarted = self.link.update_node_state()
        lost = was_alive and not self.link.monitor.alive
        for conversation in self._conversations.values():
            if restarted or lost:
                conversation.notify(self.state())
                for exchange in conversation.lose_pending(NODE_RESTARTED if restarted else NODE_LOST):
                    self.link.cancel(
                        exchange.id
                    )  # a node that was only slow must not act on a command reported as lost
            if restarted:
                conversation.loaded = False
            if self.link.ready and conversation.has_listeners and not conversation.loaded:
                conversation.loaded = True
                self._start_task(self.load(conversation))
        if not self._pages and not any(one.pending() for one in self._conversations.values()):
            self.link.close()
            self.speech.open(False)
            self._frames.clear()
            for conversation in self._conversations.values():
                conversation.loaded = False

    def state(self) -> dict[str, Any]:
        """For pages: the node's and the camera's state, the queue."""
        node = self.link.monitor.json()
        if self.link.monitor.alive and not self.link.ready:
            node["state"] = CONNECTING
        return {"type": "state", "node": node, "camera": self._camera_state(), "speech": self.speech.available}

    def health(self) -> dict[str, Any]:
        """For /healthz."""
        node = self.link.monitor
        return {
            "camera": self.feed.publishers() > 0,
            "camera_topic": self.feed.topic,
            "jpeg_files": self.feed.encoded,
            "node": node.alive,
            "node_state": node.state,
            "model": node.state == "active",
            "model_name": node.value("model"),
        }

    def on_feedback(self, identity: str, feedback: Segment.Feedback) -> None:
        """A part of an answer."""
        found = self._find(identity)
        if found is None or found[1].state in (DONE, LOST):
            return
        conversation, exchange = found
        exchange.state = ANSWERING
        exchange.answer = explanation_of(feedback.answer)
        exchange.stamp = (feedback.header.stamp.sec, feedback.header.stamp.nanosec)
        exchange.size = size_of(feedback.found) or exchange.size
        for one in feedback.found:
            exchange.objects = [*exchange.objects, object_json(one, len(exchange.objects) + 1)]
        conversation.put(exchange)
        if feedback.found and exchange.frame is None:
            self._start_task(self._attach_live_frame(conversation, exchange))

    def on_answer(self, message: Segmentation) -> None:
        """A whole answer: to a command from a page, or to one that an operator of a page sent by other means."""
        self.link.drop(message.id, message.operator_id)
        # Ids are chosen by the sender: another operator's command may have the same one.
        conversation = self._conversations.get(message.operator_id)
        exchange = conversation.get(message.id) if conversation is not None else None
        if conversation is None or (exchange is None and not conversation.has_listeners):
            return
        if exchange is None:
            exchange = Exchange(message.id, message.text)
        elif exchange.state == DONE and exchange.sent_s:
            return
        elif exchange.state == DONE:  # a program may give all of its commands one id
            exchange = Exchange(f"{message.id} {uuid.uuid4().hex}", message.text)
        fill_exchange(exchange, message, objects_json(message.objects))
        finish(exchange)
        conversation.put(exchange)
        self._attach_frame(conversation, exchange)

    def on_heard(self, message: Heard) -> None:
        """What the speech node heard from an operator, and the command that it made of it."""
        conversation = self._conversations.get(message.operator_id)
        if conversation is None or not conversation.has_listeners:
            return
        if message.command_id:
            exchange = conversation.get(message.command_id) or Exchange(
                message.command_id, message.used, sent_s=time.monotonic()
            )
            exchange.heard = message.heard
            conversation.put(exchange)
        if message.final and message.meaning == Heard.RESET and not message.detail:
            conversation.reset()
        conversation.notify(heard_json(message))

    def on_frame(self, message: Any) -> None:
        """The image of an answer; it may come before the answer or after it."""
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        if stamp not in self._frames:
            self._start_task(self._store_frame(stamp, message))

    def on_refused(self, identity: str, operator: str) -> None:
        """Waits for the answer with the reason, which comes separately."""
        self.link.drop(identity, operator)
        self._loop.call_later(_REASON_S, self._refused_without_reason, identity)

    async def _store_frame(self, stamp: Stamp, message: Any) -> None:
        try:
            jpeg, size = await self._loop.run_in_executor(None, encode_jpeg, message, _WIDEST_FRAME)
        except ImageError:
            return
        self._frames[stamp] = jpeg
        while len(self._frames) > _MOST_FRAMES:
            self._frames.popitem(last=False)
        for conversation in self._conversations.values():
            for exchange in conversation.exchanges:
                if exchange.stamp == stamp and exchange.state == DONE:
                    exchange.size = exchange.size or size
                    self._attach_frame(conversation, exchange)

    def _attach_frame(self, conversation: Conversation, exchange: Exchange) -> None:
        jpeg = self._frames.get(exchange.stamp) if exchange.stamp else None
        if jpeg is not None and exchange.status in ("OK", "NO_OBJECT") and exchange.frame is None:
            conversation.put_frame(exchange, jpeg)

    async def _attach_live_frame(self, conversation: Conversation, exchange: Exchange) -> None:
        """Shows a mask that comes before its answer on the image of the live view, if that is kept."""
        jpeg = await self.feed.at(exchange.stamp) if exchange.stamp else None
        if jpeg is not None and exchange.frame is None:
            conversation.put_frame(exchange, jpeg)

    def _refused_without_reason(self, identity: str) -> None:
        found = self._find(identity)
        if found is not None and found[1].state not in (DONE, LOST):
            conversation, exchange = found
            exchange.state, exchange.status = DONE, "REJECTED"
            conversation.put(exchange)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine in the background. Keeps the task, because asyncio holds it by a weak reference only."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _find(self, identity: str) -> tuple[Conversation, Exchange] | None:
        for conversation in self._conversations.values():
            if (exchange := conversation.get(identity)) is not None:
                return conversation, exchange
        return None

    def _camera_state(self) -> dict[str, Any]:
        now_s = time.monotonic()
        seen_s = self.feed.seen_s
        if not self.feed.subscribed:
            state = "unwatched"
        elif seen_s is not None:
            state = "lost" if now_s - seen_s > _CAMERA_SILENT_S else "ok"
        elif now_s - self._opened_s < SILENT_S:
            state = "waiting"
        else:
            state = "silent" if self.feed.publishers() else "absent"
        age_s = None if seen_s is None else round(now_s - seen_s, 1)
        return {"state": state, "age_s": age_s, "trouble": self.feed.trouble, "topic": self.feed.topic}
