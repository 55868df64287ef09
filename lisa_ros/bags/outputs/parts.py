# SPDX-License-Identifier: Apache-2.0
"""Parts that several messages have: images, points and poses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.bags.types import make
from lisa_ros.spatial.locating import Located


def image_message(pixels: NDArray[Any], encoding: str, header: Any) -> Any:
    """Pixels (H, W) or (H, W, C) as a sensor_msgs/Image."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    step = data.size // height
    return make(
        "sensor_msgs/msg/Image", header=header, height=height, width=width, encoding=encoding, step=step, data=data
    )


def xyz(values: Any) -> dict[str, float]:
    """Three coordinates as fields."""
    return dict(zip("xyz", map(float, values), strict=True))


def point(values: Any) -> Any:
    """Three coordinates in metres as a geometry_msgs/Point."""
    return make("geometry_msgs/msg/Point", **xyz(values))


def quaternion(values: Any) -> Any:
    """x, y, z, w as a geometry_msgs/Quaternion."""
    return make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", map(float, values), strict=True)))


def pose(located: Located) -> Any:
    """The centroid with the axes of the box as a geometry_msgs/Pose."""
    turned = quaternion(located.box.orientation)
    return make("geometry_msgs/msg/Pose", position=point(located.centroid_m), orientation=turned)
