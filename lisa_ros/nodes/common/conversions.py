# SPDX-License-Identifier: Apache-2.0
"""Conversions between image messages and arrays, through cv_bridge where that is correct.

Two libraries are called cv_bridge: ROS 2's own, and a port of ROS 1's on PyPI. The port ignores `step` and lacks
encodings, and either may fail with the installed numpy. Therefore the rows are packed first, the encodings that both
libraries convert correctly go through cv_bridge, and the others through OpenCV (`lisa_ros.images.decoding`). The result
does not depend on which of them is installed.
"""

import array
import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from lisa_ros.images.decoding import SUPPORTED_ENCODINGS as SUPPORTED_ENCODINGS  # re-exported, as the next ones
from lisa_ros.images.decoding import RgbImage as RgbImage
from lisa_ros.images.decoding import check_depth as check_depth
from lisa_ros.images.decoding import check_image as check_image
from lisa_ros.images.decoding import depth_from as depth_from
from lisa_ros.images.decoding import largest_if_nearly_black as largest_if_nearly_black
from lisa_ros.images.decoding import rgb_from
from lisa_ros.images.decoding import size_of as size_of
from lisa_ros.segmentation.errors import ImageError as ImageError

if TYPE_CHECKING:
    from std_msgs.msg import Header


def rgb_image_from(message: Image | CompressedImage) -> RgbImage:
    """Decode an image message.

    Returns:
        RGB uint8 (height, width, 3), contiguous, a copy of the message's data.

    Raises:
        ImageError: The message is empty, truncated or inconsistent, or its encoding is not supported.
    """
    return rgb_from(message, _through_bridge)


def to_image_message(pixels: NDArray[np.uint8] | NDArray[np.uint16], encoding: str, header: "Header") -> Image:
    """Make an image message without padding between the rows.

    Args:
        pixels: uint8 (height, width) for mono8, (height, width, 3) for rgb8 and bgr8; uint16 (height, width) for
            mono16, in the machine's byte order.
        encoding: The encoding of the pixels.
        header: The message's header; it is shared, not copied.
    """
    data = array.array("B")
    # rclpy takes an array.array as it is; any other sequence is checked byte by byte.
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=len(data) // height,
        data=data,
    )


def _through_bridge(rows: NDArray[np.uint8], message: Image) -> RgbImage | None:
    """The image converted by cv_bridge; None if the installed cv_bridge does not work with the installed numpy."""
    bridge = _bridge()
    if bridge is None:
        return None
    tight = to_image_message(rows, message.encoding, message.header)
    tight.width, tight.step = message.width, rows.shape[1]
    return np.array(bridge.imgmsg_to_cv2(tight, desired_encoding="rgb8"), dtype=np.uint8)


@functools.cache
def _bridge() -> Any | None:
    try:
        from cv_bridge import CvBridge
        from cv_bridge.boost.cv_bridge_boost import getCvType

        getCvType("rgb8")
    except (ImportError, AttributeError, RuntimeError):
        # ROS 2's is compiled against one major version of numpy and fails to load with the other.
        return None
    return CvBridge()
