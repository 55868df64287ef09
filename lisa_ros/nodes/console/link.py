# SPDX-License-Identifier: Apache-2.0
"""The console's side of one LISA node: its action, its services, its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from unique_identifier_msgs.msg import UUID

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.endpoints import SEGMENT_CLIENT_QOS, SERVICE_QOS, publishers_of
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.console.conversation import Exchange
from lisa_ros.nodes.console.node_monitor import NodeMonitor
from lisa_ros.srv import GetDialogue, ResetDialogue, UndoDialogue

_ANSWERS_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
_SERVICE_S = 5.0


class LinkError(RuntimeError):
    """The node did not accept a request; the text is one sentence."""


class Listener(Protocol):
    """Receives answers; called on the event loop's thread."""

    def on_feedback(self, identity: str, feedback: Segment.Feedback) -> None:
        """A part of an answer."""

    def on_answer(self, message: Segmentation) -> None:
        """A whole answer to any operator."""

    def on_frame(self, message: Any) -> None:
        """The image of an answer."""

    def on_refused(self, identity: str, operator: str) -> None:
        """The node rejected an operator's command; its answer says why."""


@dataclass
class _Goal:
    """An operator's command that was sent. `handle`: set once the node has accepted it."""

    operator: str
    handle: Any = None
    cancelled: bool = False


class LisaLink:
    """One node. Its methods are called on the event loop's thread; it calls ROS on the executor's."""

    def __init__(
        self,
        node: Node,
        name: str,
        compressed: bool,
        loop: asyncio.AbstractEventLoop,
        run_in_ros: Callable[..., None],
        listener: Listener,
    ) -> None:
        """Subscribes to the node's diagnostics; to its answers once `open` is called.

        Args:
            node: the console's.
            name: of the node, relative or absolute, for example "front/lisa".
            compressed: whether images come compressed.
            loop: the pages' event loop.
            run_in_ros: runs a function on the executor's thread.
            listener: receives answers.
        """
        self._node, self._loop, self._run_in_ros, self._listener = node, loop, run_in_ros, listener
        self._answers = node.resolve_topic_name(f"{name}/segmentation")
        self._full_name = self._answers.rsplit("/", 1)[0]
        self._frames = f"{self._full_name}/frame/image" + ("/compressed" if compressed else "")
        self._frame_kind = CompressedImage if compressed else Image
        self.monitor = NodeMonitor(self._full_name.strip("/"))
        self._goals: dict[str, _Goal] = {}
        self._subscriptions: list[Any] = []
        self._open = False
        self._action = ActionClient(node, Segment, f"{self._full_name}/segment", **SEGMENT_CLIENT_QOS)
        self._clients = {
            kind: node.create_client(kind, f"{self._full_name}/{service}", qos_profile=SERVICE_QOS)
            for kind, service in (
                (GetDialogue, "get_dialogue"),
                (ResetDialogue, "reset_dialogue"),
                (UndoDialogue, "undo_dialogue"),
            )
        }
        self._subscribe(DiagnosticArray, "/diagnostics", self.monitor.on_diagnostics, 10)

    def open(self) -> None:
        """A page is open: subscribe to answers and to the images they are about."""
        if not self._open:
            self._open = True
            self._run_in_ros(self._update_subscriptions)

    def close(self) -> None:
        """No page is open."""
        if self._open:
            self._open = False
            self._run_in_ros(self._update_subscriptions)

    def update_node_state(self) -> bool:
        """Updates `monitor`; returns whether the node was restarted since the last call."""
        restarted = self.monitor.update(publishers_of(self._node, self._answers))
        if restarted:
            for identity in list(self._goals):  # they belong to the process before
                self._forget(identity)
        return restarted

    @property
    def ready(self) -> bool:
        """Whether a command can be sent."""
        return self.monitor.alive and self._action.server_is_ready()

    def send(self, exchange: Exchange, operator: str, answer: str = "") -> None:
        """Sends a command as a goal.

        Args:
            exchange: the command; its id has the 32 hexadecimal digits of a UUID, which is that of the goal.
            operator: who sent it.
            answer: see Command.msg.
        """
        points = [Point(x=u, y=v) for u, v in exchange.pointing.get("points", [])]
        boxes = [
            RegionOfInterest(x_offset=int(x), y_offset=int(y), width=int(width), height=int(height))
            for x, y, width, height in exchange.pointing.get("boxes", [])
        ]
        command = Command(
            id=exchange.id,
            operator_id=operator,
            text=exchange.text,
            references=exchange.references,
            answer=answer,
            points=points,
            boxes=boxes,
        )
        if (points or boxes) and exchange.stamp is not None:
            command.stamp.sec, command.stamp.nanosec = exchange.stamp
        exchange.sent_s = time.monotonic()
        self._goals[command.id] = _Goal(operator)
        self._run_in_ros(self._send, command)

    def cancel(self, identity: str) -> None:
        """Cancels a command: at once, or as soon as the node has accepted it."""
        goal = self._goals.get(identity)
        if goal is None:
            return
        goal.cancelled = True
        if goal.handle is not None:
            self._run_in_ros(goal.handle.cancel_goal_async)

    def drop(self, identity: str, operator: str) -> None:
        """Ends the watch over an operator's command that has its answer, or gets none."""
        goal = self._goals.get(identity)
        if goal is not None and goal.operator == operator:
            self._forget(identity)

    def _forget(self, identity: str) -> None:
        """Also the feedback's callback, which rclpy keeps until a result comes: none is requested, it has the masks."""
        del self._goals[identity]
        callbacks: dict[bytes, Any] = self._action._feedback_callbacks
        self._run_in_ros(callbacks.pop, bytes.fromhex(identity), None)

    async def call(self, kind: Any, **fields: Any) -> Any:
        """Calls one of the dialogue's services; returns its response.

        Raises:
            LinkError: the node is not running, did not respond within 5 s, or refused.
        """
        client = self._clients[kind]
        if not (self.monitor.alive and client.service_is_ready()):
            raise LinkError("The LISA node is not running.")
        done: asyncio.Future[Any] = self._loop.create_future()

        sent: list[Any] = []

        def finish(response: Any) -> None:
            if not done.done():
                done.set_result(response)

        def send() -> None:
            sent.append(client.call_async(kind.Request(**fields)))
            sent[0].add_done_callback(lambda one: self._loop.call_soon_threadsafe(finish, one.result()))

        self._run_in_ros(send)
        try:
            response = await asyncio.wait_for(done, _SERVICE_S)
        except TimeoutError:
            self._run_in_ros(lambda: [client.remove_pending_request(one) for one in sent])
            raise LinkError(f"The LISA node did not respond within {_SERVICE_S:g} s.") from None
        if not response.success:
            raise LinkError(response.message)
        return response

    def _send(self, command: Command) -> None:
        def feedback(message: Any) -> None:
            self._loop.call_soon_threadsafe(self._listener.on_feedback, command.id, message.feedback)

        def accepted(future: Any) -> None:
            handle = future.result()
            if handle is None or not handle.accepted:
                self._loop.call_soon_threadsafe(self._listener.on_refused, command.id, command.operator_id)
            else:
                self._loop.call_soon_threadsafe(self._accepted, command.id, handle)

        goal_id = UUID(uuid=list(bytes.fromhex(command.id)))
        sent = self._action.send_goal_async(Segment.Goal(command=command), feedback, goal_id)
        sent.add_done_callback(accepted)

    def _accepted(self, identity: str, handle: Any) -> None:
        goal = self._goals.get(identity)
        if goal is None:
            return  # the answer was faster
        goal.handle = handle
        if goal.cancelled:
            self._run_in_ros(handle.cancel_goal_async)

    def _update_subscriptions(self) -> None:
        """On the executor's thread: subscribes if a page is open, else unsubscribes."""
        if self._open and not self._subscriptions:
            self._subscriptions = [
                self._subscribe(Segmentation, self._answers, self._to_loop(self._listener.on_answer), _ANSWERS_QOS),
                self._subscribe(self._frame_kind, self._frames, self._to_loop(self._listener.on_frame), 10),
            ]
        elif not self._open:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []

    def _to_loop(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def pass_on(message: Any) -> None:
            self._loop.call_soon_threadsafe(callback, message)

        return pass_on

    def _subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any) -> Any:
        safe = guarded_by(self._node, callback)
        return self._node.create_subscription(kind, topic, lambda message: safe(message), qos)
