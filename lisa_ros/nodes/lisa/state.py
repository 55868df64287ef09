# SPDX-License-Identifier: Apache-2.0
"""The node's lifecycle state, model and camera, as one immutable snapshot."""

import threading
from dataclasses import dataclass, replace
from typing import Any

from lisa_ros.nodes.lisa.camera.camera import Camera
from lisa_ros.nodes.lisa.worker import Worker
from lisa_ros.segmentation.interface import Segmenter


@dataclass(frozen=True)
class Model:
    """The model of a configured node, and the threads that use it."""

    segmenter: Segmenter
    worker: Worker[Any]


@dataclass(frozen=True)
class Snapshot:
    """The node at one moment.

    Attributes:
        lifecycle: The lifecycle state, for people, for example "active".
        model: None: the node is not configured.
        camera: None: the node is not active.
        stopping: Whether the process is about to end.
    """

    lifecycle: str = "unconfigured"
    model: Model | None = None
    camera: Camera | None = None
    stopping: bool = False

    @property
    def uses_parameters(self) -> bool:
        """Whether the parameters that are read at `configure` are in use."""
        return self.model is not None or self.lifecycle == "configuring"


class NodeState:
    """Holds the current snapshot.

    Only two change it: the node's lifecycle transitions, of which one runs at a time, call `change`, and the main
    thread calls `stop` when the process ends. All others read `now`, once for each use.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current = Snapshot()

    @property
    def now(self) -> Snapshot:
        """The node now."""
        return self._current

    def change(self, **changes: Any) -> Snapshot:
        """Change fields of the snapshot; returns the snapshot before."""
        with self._lock:
            before, self._current = self._current, replace(self._current, **changes)
            return before

    def stop(self) -> Snapshot:
        """The process is about to end: no more commands are accepted. Returns the snapshot before."""
        return self.change(stopping=True, lifecycle="shutting down")
