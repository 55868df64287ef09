# SPDX-License-Identifier: Apache-2.0
"""The node `sim_camera`: a colour and depth camera above a simulated table, with the ground truth of its images."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Transform, TransformStamped, Vector3
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from lisa_ros.nodes.common.command_line import check_program, report_overrides
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.common.guarding import guarded
from lisa_ros.nodes.common.starting import START_ERRORS, Stop, run_node, start_ros, use_fastdds_profile
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.masks import centroid_pixel
from lisa_ros.simulation.scene import Camera, View
from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.spatial.rotation import quaternion

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not on PyPI; part of a ROS 2 installation
    TFMessage = None


def _parameter(default: Any, description: str, least: float = 0.0, most: float = 0.0) -> Any:
    """A parameter that is read once, at the start; the bounds are those of numbers."""
    return field(default=default, metadata={"description": description, "least": least, "most": most})


@dataclass(frozen=True)
class SimCameraParameters:
    """The node's parameters. config/sim_camera.yaml repeats the defaults for users to edit; a test compares the two."""

    seed: int = _parameter(0, "Seed of the random scenes. Equal seeds give equal images.", 0, 2**31 - 1)
    width: int = _parameter(640, "Width of the images, in pixels.", 16, 4096)
    height: int = _parameter(480, "Height of the images, in pixels.", 16, 4096)
    rate_hz: float = _parameter(5.0, "Rate of the images, in Hz.", 0.1, 100.0)
    frame_id: str = _parameter("camera_color_optical_frame", "The frame_id of the images, the camera's optical frame.")
    table_frame_id: str = _parameter("table", "The frame_id of the camera's pose: a frame on the table top with z up.")
    rearrange_period_s: float = _parameter(
        0.0, "Interval at which the scene is replaced by a new random one, in seconds. 0: never.", 0.0, 86400.0
    )


DESCRIPTIONS: dict[str, str] = {entry.name: entry.metadata["description"] for entry in fields(SimCameraParameters)}
"""Name -> description of each parameter, for the program's help."""


class SimCamera(Node):
    """Publishes one simulated camera.

    A scene is rendered once, and published with new stamps until it changes.
    """

    def __init__(self) -> None:
        """Make the scene and start to publish.

        Raises:
            ValueError: A parameter has an invalid value; the text names it and the valid values.
        """
        super().__init__("sim_camera")
        self.callback_errors = 0
        parameters = _declared(self)
        self._frame_id = parameters.frame_id
        self._table = Tabletop(parameters.seed, width=parameters.width, height=parameters.height)
        self._image_publishers = {
            name: self.create_publisher(Image, name, qos_profile_sensor_data)
            for name in ("image", "depth", "instances")
        }
        self._camera_info = self.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._objects = self.create_publisher(String, "~/objects", latched)
        self._camera_pose = self.create_publisher(PoseStamped, "~/camera_pose", latched)
        self._transforms = self.create_publisher(TFMessage, "/tf_static", latched) if TFMessage else None
        self._table_frame_id = parameters.table_frame_id
        self._take_view()
        self.create_timer(1.0 / parameters.rate_hz, self._publish)
        if parameters.rearrange_period_s > 0.0:
            self.create_timer(parameters.rearrange_period_s, self._rearrange)

    def destroy_node(self) -> None:
        """Also end the simulator."""
        self._table.close()
        super().destroy_node()

    def _take_view(self) -> None:
        view = self._table.render()
        self._header = Header(frame_id=self._frame_id)
        self._messages = image_messages(view, self._header)
        self._info_message = camera_info_message(view.camera, self._header)
        self._objects.publish(String(data=json.dumps(describe_objects(view))))
        self._publish_pose(view.camera)

    def _publish_pose(self, camera: Camera) -> None:
        header = Header(frame_id=self._table_frame_id, stamp=self.get_clock().now().to_msg())
        pose = camera_pose_message(camera)
        self._camera_pose.publish(PoseStamped(header=header, pose=pose))
        if self._transforms is not None:
            self._transforms.publish(TFMessage(transforms=[transform_message(pose, header, self._frame_id)]))

    @guarded
    def _rearrange(self) -> None:
        self._table.rearrange()
        self._take_view()

    @guarded
    def _publish(self) -> None:
        # All messages share this header and therefore its stamp.
        self._header.stamp = self.get_clock().now().to_msg()
        for name, message in self._messages.items():
            self._image_publishers[name].publish(message)
        self._camera_info.publish(self._info_message)


def image_messages(view: View, header: Header) -> dict[str, Image]:
    """The view's images by topic: image (rgb8), depth (32FC1, metres) and instances (mono8). They share the header."""
    # to_image_message computes the step from bytes, so each float is given as four bytes.
    depth_bytes = view.depth_m.astype("<f4").view(np.uint8).reshape(*view.depth_m.shape, 4)
    return {
        "image": to_image_message(view.rgb, "rgb8", header),
        "depth": to_image_message(depth_bytes, "32FC1", header),
        "instances": to_image_message(view.instances, "mono8", header),
    }


def camera_info_message(camera: Camera, header: Header) -> CameraInfo:
    """The camera's intrinsics, without distortion."""
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=camera.k.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.hstack([camera.k, np.zeros((3, 1))]).ravel().tolist(),
    )


def camera_pose_message(camera: Camera) -> Pose:
    """The pose of the camera's optical frame in the table's frame."""
    x, y, z, w = quaternion(camera.pose[:3, :3])
    position = (float(value) for value in camera.pose[:3, 3])
    return Pose(position=Point(**dict(zip("xyz", position, strict=True))), orientation=Quaternion(x=x, y=y, z=z, w=w))


def transform_message(pose: Pose, header: Header, child_frame_id: str) -> TransformStamped:
    """A pose as a transform for TF."""
    translation = Vector3(x=pose.position.x, y=pose.position.y, z=pose.position.z)
    transform = Transform(translation=translation, rotation=pose.orientation)
    return TransformStamped(header=header, child_frame_id=child_frame_id, transform=transform)


def describe_objects(view: View) -> list[dict[str, Any]]:
    """The ground truth of a view, for JSON.

    Returns:
        For each object: instance (its value in the instances image), kind, colour, position_m (centre of its box in the
        camera's optical frame, in metres) and centroid_px (u, v of a pixel on the object).
    """
    to_optical = np.linalg.inv(view.camera.pose)
    return [
        {
            "instance": visible.instance,
            "kind": visible.kind,
            "colour": visible.colour,
            "position_m": (to_optical @ np.array([*visible.position_m, 1.0]))[:3].tolist(),
            "centroid_px": list(centroid_pixel(view.instances == visible.instance)),
        }
        for visible in view.objects
    ]


def _declared(node: Node) -> SimCameraParameters:
    values = {entry.name: _declare(node, entry) for entry in dataclasses.fields(SimCameraParameters)}
    return SimCameraParameters(**values)


def _declare(node: Node, entry: dataclasses.Field[Any]) -> Any:
    descriptor = parameter_descriptor(entry)
    try:
        return node.declare_parameter(entry.name, entry.default, descriptor).value
    except ParameterException as error:
        kind = {int: "a whole number", float: "a number with a decimal point", str: "a text"}[type(entry.default)]
        bounds = "" if isinstance(entry.default, str) else " from {least:g} to {most:g}".format(**entry.metadata)
        raise LisaError(f"Parameter {entry.name} must be {kind}{bounds} ({error}).") from error


def parameter_descriptor(entry: dataclasses.Field[Any]) -> ParameterDescriptor:
    """The parameter's descriptor, as shown by `ros2 param describe`."""
    descriptor = ParameterDescriptor(description=entry.metadata["description"], read_only=True)
    least, most = entry.metadata["least"], entry.metadata["most"]
    if isinstance(entry.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(least), to_value=int(most))]
    elif isinstance(entry.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(least), to_value=float(most))]
    return descriptor


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0; 1 if the command line or a parameter is invalid.
    """
    stop = Stop()
    stop.at_signals()
    try:
        if check_program(args, "sim_camera", "Publishes a simulated tabletop camera.", DESCRIPTIONS):
            return 0
        use_fastdds_profile()
        start_ros(args, SignalHandlerOptions.NO)
        run_node(lambda: _made(args), stop)
    except (*START_ERRORS, ValueError) as error:
        print(f"sim_camera: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _made(args: Sequence[str] | None) -> SimCamera:
    node = SimCamera()
    report_overrides(node, args)
    return node
