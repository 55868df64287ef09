# SPDX-License-Identifier: Apache-2.0
"""Transforms from the camera's frame to the planners' (`target_frame`), from tf2."""

import importlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Transform, TransformStamped
from numpy.typing import NDArray
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time as RosTime

from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.text import detail_of, quoted
from lisa_ros.spatial.rotation import transform_of

_MAX_LENGTH_ERROR = 0.1
"""Maximum difference of a quaternion's length from 1. tf2 itself accepts 0.005, for example of two typed digits."""

_FIRST = " The node has listened to /tf since this command only: send it again, or set the parameter target_frame."


class NoTransformError(Exception):
    """The transform is not known; the text is one sentence."""


class TransformBuffer(Protocol):
    """The part of tf2_ros.Buffer that is used."""

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any, timeout: Any) -> TransformStamped:
        """See tf2_ros; waits at most `timeout`, and raises any exception if there is no such transform."""


def open_tf2_buffer(node: Node) -> TransformBuffer:
    """A tf2 buffer that listens to /tf and /tf_static. It begins empty when the node's clock goes back.

    Raises:
        NoTransformError: tf2_ros is not installed.
    """
    try:
        tf2_ros = importlib.import_module("tf2_ros")
    except ImportError as error:
        sentence = "A target_frame needs tf2_ros, which is not installed (Debian package ros-<distro>-tf2-ros-py)."
        raise NoTransformError(sentence) from error
    buffer = tf2_ros.Buffer()
    buffer.listener = tf2_ros.TransformListener(buffer, node)  # the buffer keeps it alive
    # After a simulation or a bag began again, tf2 would take no transform until its time has come to the old ones.
    back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
    buffer.jumps = node.get_clock().create_jump_callback(back, post_callback=lambda jump: buffer.clear())
    return buffer  # type: ignore[no-any-return]


class Transforms:
    """The node's transforms. Thread-safe; it listens to /tf only once a transform is wanted, see `follow`."""

    def __init__(self, node: Node, open_buffer: Callable[[Node], TransformBuffer] = open_tf2_buffer) -> None:
        """Start without a buffer.

        Args:
            node: The node.
            open_buffer: Opens the buffer; tests replace it.
        """
        self._node, self._open = node, open_buffer
        self._lock = threading.Lock()
        self._buffer: TransformBuffer | None = None

    def follow(self, parameters: LiveParameters) -> None:
        """Listen to /tf as soon as target_frame is set, not from the first command on: its image is older."""
        self._listen(parameters.current)
        parameters.on_change(self._listen)

    def matrix(self, target: str, source: str, stamp: Time, timeout_s: float) -> NDArray[np.float64]:
        """The transform (4, 4) of points of the frame `source` to the frame `target`, at the image's stamp.

        Raises:
            NoTransformError: It is not known within timeout_s seconds, or tf2 has no frame of such a name.
        """
        for name in (target, source):
            _check_name(name)
        first = self._buffer is None
        buffer = self._opened()
        try:
            found = buffer.lookup_transform(
                target, source, RosTime.from_msg(stamp), Duration(seconds=timeout_s)
            ).transform
            return _matrix_of(found)
        except Exception as error:  # tf2's exceptions have no common base class besides Exception
            reason = detail_of(str(error)).rstrip(".")  # it names the frames as well
            raise NoTransformError(
                f"There is no transform from {quoted(source)} to {quoted(target)} at the image's stamp after"
                f" {timeout_s:g} s (transform_timeout): {reason}.{_FIRST if first else ''}"
            ) from error

    def _listen(self, parameters: NodeParameters) -> None:
        try:
            if parameters.target_frame:
                self._opened()
        except NoTransformError as error:
            self._node.get_logger().warning(str(error))

    def _opened(self) -> TransformBuffer:
        with self._lock:
            if self._buffer is None:
                self._buffer = self._open(self._node)
            return self._buffer


def _check_name(frame: str) -> None:
    """Refuse a leading "/", as tf had it: tf2 has no such frame, but waits for it."""
    right = frame.lstrip("/")
    if frame == right:
        return
    hint = f": use {quoted(right)}" if right else ""
    raise NoTransformError(f'{quoted(frame)} is no frame of tf2, whose names do not begin with "/"{hint}.')


def _matrix_of(transform: Transform) -> NDArray[np.float64]:
    """A transform as a matrix (4, 4).

    Raises:
        ValueError: Its quaternion is none, or its translation is not finite.
    """
    place, axes = transform.translation, transform.rotation
    quaternion = np.array([axes.x, axes.y, axes.z, axes.w])
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1.0) < _MAX_LENGTH_ERROR:
        raise ValueError(f"the length of its quaternion is {length:g} instead of 1")
    if not np.isfinite([place.x, place.y, place.z]).all():
        raise ValueError("its translation has a number that is not finite")
    x, y, z, w = (float(part) for part in quaternion / length)
    return transform_of((place.x, place.y, place.z), (x, y, z, w))
