# SPDX-License-Identifier: Apache-2.0
"""A colour and depth camera for tests: publishes an image, its depth and its intrinsics with one stamp."""

import array
from typing import Any

import numpy as np
from node_probe import Probe
from numpy.typing import NDArray
from ros_harness import wait_until
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message

FRAME_ID = "camera_optical"
FOCAL = 200.0


def metres_message(depth_m: NDArray[np.float32], header: Header) -> Image:
    height, width = depth_m.shape
    data = array.array("B", depth_m.astype("<f4").tobytes())
    return Image(header=header, height=height, width=width, encoding="32FC1", step=4 * width, data=data)


def millimetres_message(depth_m: NDArray[np.float32], header: Header) -> Image:
    height, width = depth_m.shape
    data = array.array("B", np.rint(1000 * depth_m).astype(">u2").tobytes())
    return Image(header=header, height=height, width=width, encoding="16UC1", step=2 * width, is_bigendian=1, data=data)


def info_message(width: int, height: int, header: Header, **fields: Any) -> CameraInfo:
    k = [FOCAL, 0.0, (width - 1) / 2, 0.0, FOCAL, (height - 1) / 2, 0.0, 0.0, 1.0]
    known = {"k": k, "distortion_model": "plumb_bob", "d": [0.0] * 5} | fields
    return CameraInfo(header=header, width=width, height=height, **known)


class DepthCamera:
    """Publishes for the node of a probe."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._depth = probe.node.create_publisher(Image, "depth", 1)
        self._info = probe.node.create_publisher(CameraInfo, "camera_info", 1)

    def show(
        self,
        image: NDArray[np.uint8],
        depth_m: NDArray[np.float32] | None,
        *,
        make: Any = metres_message,
        depth_frame: str = FRAME_ID,
        info_size: tuple[int, int] | None = None,
        **info: Any,
    ) -> Header:
        """Publish one frame; depth None: only image and intrinsics; info_size None: the image's."""
        header = Header(stamp=self._probe.stamp_now(), frame_id=FRAME_ID)
        if depth_m is not None:
            self._depth.publish(make(depth_m, Header(stamp=header.stamp, frame_id=depth_frame)))
        self._info.publish(info_message(*(info_size or image.shape[1::-1]), header, **info))
        self._probe.show(to_image_message(image, "rgb8", header))
        return header

    def ask_about(self, text: str, accept: Any = lambda answer: True, **frame: Any) -> Segmentation:
        """Publish a frame and send a command until the answer is about this frame and is accepted.

        Cameras are best effort, so one attempt may not be enough.
        """

        def answer() -> Segmentation | None:
            header = self.show(**frame)
            given = self._probe.ask(text)
            return given if given.header.stamp == header.stamp and accept(given) else None

        found: Segmentation = wait_until(answer, f"an accepted answer to {text!r}")
        return found
