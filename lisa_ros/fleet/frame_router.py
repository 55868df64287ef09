# SPDX-License-Identifier: Apache-2.0
"""Which replica gets a request: the one that has encoded the image, else the one with the fewest requests.

Of several with the fewest requests, it is the one that answered the robot last (the model's drafts come from earlier
answers), else the one whose last new image is longest ago. Robots that send a command when the one before is answered
would otherwise all go to the first replica, which often has no request when they ask.

When all replicas are full, the robots that wait take turns, so that many requests of one do not delay the others.

A policy for Ray Serve's request router (serve.request_router.RequestRouter). The frame travels as `session_id`.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from lisa_ros.dialogue.fair_order import FairOrder
from lisa_ros.fleet.access import ANYBODY

_MOST_FRAMES = 4096


class FrameRouter(RequestRouter):
    """Remembers where each frame went. A replica that is full or gone is passed over."""

    def initialize_state(self, **_: Any) -> None:
        """Called once by Ray Serve."""
        self._replica_of: OrderedDict[str, ReplicaID] = OrderedDict()
        self._last_of: OrderedDict[str, ReplicaID] = OrderedDict()
        self._last_new: dict[ReplicaID, int] = {}
        self._count = itertools.count(1)
        self._order = FairOrder(time.time)  # the clock of PendingRequest.created_at

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Replicas in ranks, the best first."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
        free = self.select_available_replicas(candidate_replicas)
        frame = pending_request.metadata.session_id if pending_request is not None else ""
        wanted, last = self._replica_of.get(frame), self._last_of.get(_robot(frame))

        def rank(replica: RunningReplica) -> tuple[bool, int, bool, int]:
            name = replica.replica_id
            requests = self.replica_queue_len_cache.get(name) or 0
            return name != wanted, requests, name != last, self._last_new.get(name, 0)

        return [[one] for one in sorted(free, key=rank)]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Remembers where a frame went."""
        frame = pending_request.metadata.session_id
        if not frame:
            return
        if self._replica_of.get(frame) != replica_id:
            self._last_new[replica_id] = next(self._count)
        _remember(self._replica_of, frame, replica_id)
        if (robot := _robot(frame)) != ANYBODY:  # without tokens, all robots have this name
            _remember(self._last_of, robot, replica_id)

    def _fulfill_next_pending_request(self, replica: RunningReplica, request_metadata: Any = None) -> None:
        """Gives a place to the request that asked for it, or to another robot's if its own had a turn meanwhile.

        Ray calls it with the request that found the place, which may be any of those that wait; its FIFOMixin
        overrides it, too.
        """
        waiting = [one for one in self._pending_requests_by_id.values() if not one.future.done()]
        chosen = next((one for one in waiting if one.metadata is request_metadata), None)
        if chosen is not None:
            if self._came_s(chosen) > chosen.created_at:
                chosen = min(waiting, key=self._came_s)
            self._order.note_turn(_robot_of(chosen), {_robot_of(one) for one in waiting if one is not chosen})
            request_metadata = chosen.metadata
        super()._fulfill_next_pending_request(replica, request_metadata)

    def _came_s(self, request: PendingRequest) -> float:
        return self._order.came_s(_robot_of(request), request.created_at)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Forgets replicas that are gone."""
        super().update_replicas(replicas)
        running = {one.replica_id for one in replicas}
        self._last_new = {one: count for one, count in self._last_new.items() if one in running}


def _robot(frame: str) -> str:
    return frame.rpartition("/")[0]


def _robot_of(request: PendingRequest) -> str:
    return _robot(request.metadata.session_id)


def _remember(replicas: OrderedDict[str, ReplicaID], name: str, replica_id: ReplicaID) -> None:
    replicas[name] = replica_id
    replicas.move_to_end(name)
    while len(replicas) > _MOST_FRAMES:
        replicas.popitem(last=False)
