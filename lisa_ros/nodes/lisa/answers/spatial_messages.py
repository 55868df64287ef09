# SPDX-License-Identifier: Apache-2.0
"""3-D positions, point clouds and markers as messages."""

import array
from collections.abc import Sequence

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lisa_ros.msg import Grip as GripMessage
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.points import ObjectPoints
from lisa_ros.spatial.rotation import Vector

_FIELDS = [
    PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
    for i, name in enumerate(("x", "y", "z", "rgb"))
]
_BOX_COLOUR = ColorRGBA(r=0.2, g=0.8, b=1.0, a=0.35)
_CENTROID_COLOUR = ColorRGBA(r=1.0, g=0.3, b=0.1, a=1.0)
_CENTROID_M = 0.012
_TEXT_M = 0.024
_FOREVER = Duration()


def point(x_y_z: Sequence[float]) -> Point:
    """Three coordinates in metres as a point."""
    return Point(x=float(x_y_z[0]), y=float(x_y_z[1]), z=float(x_y_z[2]))


def pose_of(located: Located) -> Pose:
    """The pose of an object: its centroid with the axes of its box."""
    x, y, z, w = located.box.orientation
    return Pose(position=point(located.centroid_m), orientation=Quaternion(x=x, y=y, z=z, w=w))


def pose_message(located: Located, header: Header) -> PoseStamped:
    """The pose of an object with a header."""
    return PoseStamped(header=header, pose=pose_of(located))


def grip_message(grip: Grip | NoGrip | None) -> GripMessage:
    """A grip, or why there is none, as a message."""
    if grip is None:
        return GripMessage()
    if isinstance(grip, NoGrip):
        return GripMessage(strategy=grip.strategy, detail=grip.detail)
    return GripMessage(
        strategy=grip.strategy,
        found=True,
        pose=grip_pose(grip),
        opening=grip.opening_m,
        patch_length=grip.patch_size_m[0],
        patch_width=grip.patch_size_m[1],
        clear_diameter=grip.clear_diameter_m,
        flatness=grip.flatness_m,
    )


def grip_pose(grip: Grip) -> Pose:
    """The pose of a grip."""
    x, y, z, w = grip.orientation
    return Pose(position=point(grip.position_m), orientation=Quaternion(x=x, y=y, z=z, w=w))


def cloud_message(points: ObjectPoints, header: Header, organised: bool) -> PointCloud2:
    """An object's points with their colours.

    Args:
        points: The object's points.
        header: Of the image.
        organised: True: one point per pixel of the image, NaN outside the object and where depth is missing. False:
            only the object's points, in one row.
    """
    packed = points.packed(organised)
    data = array.array("B")
    data.frombytes(packed.tobytes())
    height, width = packed.shape
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=_FIELDS,
        is_bigendian=False,
        point_step=packed.itemsize,
        row_step=packed.itemsize * width,
        data=data,
        is_dense=not organised,
    )


def marker_message(objects: Sequence[Located], header: Header, labels: Sequence[str], up: Vector) -> MarkerArray:
    """A box, a sphere at the centroid and a label for each object; the markers of the previous answer are deleted.

    Args:
        objects: In the header's frame.
        header: Of the markers.
        labels: A text for each object; it stands above the box.
        up: The direction of "above", of length 1, in the header's frame.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, (located, label) in enumerate(zip(objects, labels, strict=True)):
        markers += [
            _box(located, header, number),
            _sphere(located, header, number),
            _label(located, header, number, label, up),
        ]
    return MarkerArray(markers=markers)


def _box(located: Located, header: Header, number: int) -> Marker:
    x, y, z, w = located.box.orientation
    pose = Pose(position=point(located.box.centre_m), orientation=Quaternion(x=x, y=y, z=z, w=w))
    length, width, height = (max(1e-3, side) for side in located.box.size_m)
    return Marker(
        header=header,
        ns="box",
        id=number,
        type=Marker.CUBE,
        action=Marker.ADD,
        pose=pose,
        scale=Vector3(x=length, y=width, z=height),
        color=_BOX_COLOUR,
        lifetime=_FOREVER,
    )


def _sphere(located: Located, header: Header, number: int) -> Marker:
    return Marker(
        header=header,
        ns="centroid",
        id=number,
        type=Marker.SPHERE,
        action=Marker.ADD,
        pose=pose_of(located),
        scale=Vector3(x=_CENTROID_M, y=_CENTROID_M, z=_CENTROID_M),
        color=_CENTROID_COLOUR,
        lifetime=_FOREVER,
    )


def _label(located: Located, header: Header, number: int, label: str, up: Vector) -> Marker:
    above = point(located.box.beyond(up, _TEXT_M))
    return Marker(
        header=header,
        ns="label",
        id=number,
        type=Marker.TEXT_VIEW_FACING,
        action=Marker.ADD,
        pose=Pose(position=above, orientation=Quaternion(w=1.0)),
        scale=Vector3(z=_TEXT_M),
        color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
        text=label,
        lifetime=_FOREVER,
    )
