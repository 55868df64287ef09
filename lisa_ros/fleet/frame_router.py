# SPDX-License-Identifier: Apache-2.0
"""Which replica gets a request: the one that has encoded the image, else the one with the fewest requests.

A policy for Ray Serve's request router (serve.request_router.RequestRouter). The frame travels as `session_id`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

_MOST_FRAMES = 4096


class FrameRouter(RequestRouter):
    """Remembers where each frame went. A replica that is full or gone is passed over."""

    def initialize_state(self, **_: Any) -> None:
        """Called once by Ray Serve."""
        self._replica_of: OrderedDict[str, ReplicaID] = OrderedDict()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Replicas in ranks, the best first."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
        free = self.select_available_replicas(candidate_replicas)
        ranked = sorted(free, key=lambda one: self.replica_queue_len_cache.get(one.replica_id) or 0)
        wanted = self._replica_of.get(pending_request.metadata.session_id) if pending_request is not None else None
        ranked.sort(key=lambda one: one.replica_id != wanted)
        return [[one] for one in ranked]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Remembers where a frame went."""
        frame = pending_request.metadata.session_id
        if frame:
            self._replica_of[frame] = replica_id
            self._replica_of.move_to_end(frame)
            while len(self._replica_of) > _MOST_FRAMES:
                self._replica_of.popitem(last=False)
