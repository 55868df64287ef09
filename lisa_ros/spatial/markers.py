# SPDX-License-Identifier: Apache-2.0
"""What RViz and Foxglove show of an object in 3-D, without the types of ROS: a box, its centroid and a label."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.rotation import Quaternion, Vector

CENTROID_M, TEXT_M = 0.012, 0.024
_THINNEST_M = 1e-3
_UPRIGHT: Quaternion = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class MarkerShape:
    """A visualization_msgs/Marker, but for its header and id.

    Attributes:
        namespace: "box", "centroid" or "label".
        kind: the constant of its type: "CUBE", "SPHERE" or "TEXT_VIEW_FACING".
        position_m, orientation: its pose.
        scale_m: along its x, y and z axis; of a text z is the height of the letters.
        rgba: 0 to 1.
        text: of a label.
    """

    namespace: str
    kind: str
    position_m: Vector
    orientation: Quaternion
    scale_m: Vector
    rgba: tuple[float, float, float, float]
    text: str = ""


def markers_of(located: Located, label: str, up: Vector) -> tuple[MarkerShape, ...]:
    """A box, a sphere at the centroid, and a label above the box.

    Args:
        located: the object.
        label: the text.
        up: the direction of "above", of length 1, in the frame of the object.
    """
    box = located.box
    length, width, height = (max(_THINNEST_M, side) for side in box.size_m)
    ball, letters = (CENTROID_M, CENTROID_M, CENTROID_M), (0.0, 0.0, TEXT_M)
    above = box.beyond(up, TEXT_M)
    return (
        MarkerShape("box", "CUBE", box.centre_m, box.orientation, (length, width, height), (0.2, 0.8, 1.0, 0.35)),
        MarkerShape("centroid", "SPHERE", located.centroid_m, box.orientation, ball, (1.0, 0.3, 0.1, 1.0)),
        MarkerShape("label", "TEXT_VIEW_FACING", above, _UPRIGHT, letters, (1.0, 1.0, 1.0, 1.0), label),
    )
