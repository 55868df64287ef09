# SPDX-License-Identifier: Apache-2.0
"""3-D positions, point clouds and markers as messages."""

import array
from collections.abc import Sequence

from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lisa_ros.msg import Grip as GripMessage
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.markers import MarkerShape, markers_of
from lisa_ros.spatial.points import ObjectPoints
from lisa_ros.spatial.rotation import Vector

_FIELDS = [
    PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
    for i, name in enumerate(("x", "y", "z", "rgb"))
]


def point(x_y_z: Sequence[float]) -> Point:
    """Three coordinates in metres as a point."""
    return Point(x=float(x_y_z[0]), y=float(x_y_z[1]), z=float(x_y_z[2]))


def pose_of(located: Located) -> Pose:
    """The pose of an object: its centroid with the axes of its box."""
    return Pose(position=point(located.centroid_m), orientation=_quaternion(located.box.orientation))


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
    return Pose(position=point(grip.position_m), orientation=_quaternion(grip.orientation))


def _quaternion(x_y_z_w: Sequence[float]) -> Quaternion:
    x, y, z, w = x_y_z_w
    return Quaternion(x=x, y=y, z=z, w=w)


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
        markers += [_marker(shape, header, number) for shape in markers_of(located, label, up)]
    return MarkerArray(markers=markers)


def _marker(shape: MarkerShape, header: Header, number: int) -> Marker:
    x, y, z = shape.scale_m
    red, green, blue, alpha = shape.rgba
    return Marker(
        header=header,
        ns=shape.namespace,
        id=number,
        type=getattr(Marker, shape.kind),
        action=Marker.ADD,
        pose=Pose(position=point(shape.position_m), orientation=_quaternion(shape.orientation)),
        scale=Vector3(x=x, y=y, z=z),
        color=ColorRGBA(r=red, g=green, b=blue, a=alpha),
        text=shape.text,
    )
