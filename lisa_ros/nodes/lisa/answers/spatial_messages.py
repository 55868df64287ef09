# SPDX-License-Identifier: Apache-2.0
"""Places in metres as messages."""

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.points import ObjectPoints

# As PCL and RViz read it: the colour's bytes lie in a float, blue first.
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
_FIELDS = [
    PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
    for place, name in enumerate(("x", "y", "z", "rgb"))
]
_BOX_COLOUR = ColorRGBA(r=0.2, g=0.8, b=1.0, a=0.35)
_CENTROID_COLOUR = ColorRGBA(r=1.0, g=0.3, b=0.1, a=1.0)
_CENTROID_M = 0.012
_FOREVER = Duration()


def point(x_y_z: Sequence[float]) -> Point:
    """Three numbers as a point, metres."""
    return Point(x=float(x_y_z[0]), y=float(x_y_z[1]), z=float(x_y_z[2]))


def pose_of(place: Located) -> Pose:
    """The centroid, with the box's axes."""
    x, y, z, w = place.box.orientation
    return Pose(position=point(place.centroid_m), orientation=Quaternion(x=x, y=y, z=z, w=w))


def pose_message(place: Located, header: Header) -> PoseStamped:
    """The same with its header."""
    return PoseStamped(header=header, pose=pose_of(place))


def cloud_message(points: ObjectPoints, header: Header, organised: bool) -> PointCloud2:
    """An object's points with their colours.

    Args:
        points: the object's.
        header: of the picture.
        organised: one point for each pixel of the picture, NaN where it is not the object's or was not measured; else
            the object's alone, in one row.
    """
    xyz, rgb = points.organised() if organised else (points.xyz[None], points.rgb[None])
    packed = np.zeros(xyz.shape[:2], dtype=_POINT)
    packed["x"], packed["y"], packed["z"] = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    packed["rgb"] = _packed_colour(rgb)
    data = array.array("B")
    data.frombytes(packed.tobytes())
    height, width = packed.shape
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=_FIELDS,
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * width,
        data=data,
        is_dense=not organised,
    )


def marker_message(places: Sequence[Located], header: Header, labels: Sequence[str]) -> MarkerArray:
    """A box, a dot at the centroid and a label for each object; those of the answer before go."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, (place, label) in enumerate(zip(places, labels, strict=True)):
        markers += [_box(place, header, number), _dot(place, header, number), _label(place, header, number, label)]
    return MarkerArray(markers=markers)


def _packed_colour(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], dtype=np.uint32)


def _box(place: Located, header: Header, number: int) -> Marker:
    x, y, z, w = place.box.orientation
    pose = Pose(position=point(place.box.centre_m), orientation=Quaternion(x=x, y=y, z=z, w=w))
    length, width, height = (max(1e-3, side) for side in place.box.size_m)
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


def _dot(place: Located, header: Header, number: int) -> Marker:
    return Marker(
        header=header,
        ns="centroid",
        id=number,
        type=Marker.SPHERE,
        action=Marker.ADD,
        pose=pose_of(place),
        scale=Vector3(x=_CENTROID_M, y=_CENTROID_M, z=_CENTROID_M),
        color=_CENTROID_COLOUR,
        lifetime=_FOREVER,
    )


def _label(place: Located, header: Header, number: int, label: str) -> Marker:
    x, y, z = place.centroid_m
    # In an optical frame y is down: the text stands above the thing as the camera sees it.
    above = Point(x=x, y=y - max(place.box.size_m) / 2 - 2 * _CENTROID_M, z=z)
    return Marker(
        header=header,
        ns="label",
        id=number,
        type=Marker.TEXT_VIEW_FACING,
        action=Marker.ADD,
        pose=Pose(position=above, orientation=Quaternion(w=1.0)),
        scale=Vector3(z=2 * _CENTROID_M),
        color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
        text=label,
        lifetime=_FOREVER,
    )
