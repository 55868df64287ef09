# SPDX-License-Identifier: Apache-2.0
"""The simulated robot: a depth camera that publishes to ROS, and an arm, in one world."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from lisa_ros.nodes.sim_camera.node import camera_info_message, image_messages
from lisa_ros.simulation.arrangement import Light
from lisa_ros.simulation.depth_camera import KINDS, spoiled
from lisa_ros.simulation.manipulation.arm import Arm
from lisa_ros.simulation.rendering import take_image
from lisa_ros.simulation.scene import Camera, View
from lisa_ros.simulation.tabletop import Tabletop

LIFE_SIZE = 0.8
"""The scale at which the table's objects are as large as real ones: a can is 59 to 69 mm wide."""
FRAME_ID = "camera_color_optical_frame"
LIFTED_M = 0.08
DAYLIGHT = Light((-0.3, 0.3, 0.9), (1.0, 1.0, 1.0), 0.6, 0.5, 0.05, 1.0)
_MOST_TRIES = 50
_SMALL = 8
"""Whether the arm is in view is looked up in an image this much smaller."""


class Robot:
    """A table with an arm and a camera. `publish` publishes `image`, `depth` and `camera_info`."""

    def __init__(self, node: Node, seed: int, size: tuple[int, int], depth: str, on_step: Callable[[], None]) -> None:
        """Lay the table.

        Args:
            node: publishes the camera's topics, relative to its namespace.
            seed: of all random numbers.
            size: width and height of the images, pixels.
            depth: the depth camera, one of simulation.depth_camera.KINDS.
            on_step: called after every step of the simulation.
        """
        self.table = Tabletop(seed, width=size[0], height=size[1], scale=LIFE_SIZE, hollow=True)
        self.arm = Arm(self.table.world, on_step)
        self._node, self._depth, self._rng = node, KINDS[depth], np.random.default_rng(seed)
        qos = QoSProfile(depth=5)
        self._publishers = {name: node.create_publisher(Image, name, qos) for name in ("image", "depth")}
        self._info = node.create_publisher(CameraInfo, "camera_info", qos)
        self._take_image()

    def close(self) -> None:
        """Free the simulator."""
        self.arm.close()
        self.table.close()

    def next_scene(self) -> None:
        """Other objects and another camera; the arm is parked."""
        self.arm.park()
        self.table.rearrange()
        self._take_image()

    def _take_image(self) -> None:
        """Place the camera so that it does not see the parked arm, and take an image."""
        for _ in range(_MOST_TRIES):
            self.table.move_camera()
            if not self._sees_arm(self.table.camera):
                break
        else:
            raise RuntimeError(f"in {_MOST_TRIES} tries no place was found from where the arm is not in view")
        self.view: View = self.table.render()
        seen = View(
            self.view.rgb, spoiled(self.view.depth_m, self._depth, self._rng), self.view.instances, (), self.view.camera
        )
        self._messages = image_messages(seen, Header(frame_id=FRAME_ID))

    def _sees_arm(self, camera: Camera) -> bool:
        k = camera.k / _SMALL
        k[2, 2] = 1.0
        small = Camera(camera.width // _SMALL, camera.height // _SMALL, k, camera.pose)
        return bool((take_image(self.table.world, small, DAYLIGHT)[2] == self.arm.body).any())

    def publish(self) -> Time:
        """Publish the image, the depth image and the intrinsics; returns their stamp."""
        header = Header(frame_id=FRAME_ID, stamp=self._node.get_clock().now().to_msg())
        for name, publisher in self._publishers.items():
            self._messages[name].header = header
            publisher.publish(self._messages[name])
        self._info.publish(camera_info_message(self.view.camera, header))
        return header.stamp

    def heights(self) -> dict[int, float]:
        """The height of each visible object's body, by instance."""
        world, table = self.table.world, self.table
        return {
            one.instance: float(world.getBasePositionAndOrientation(table.body_of(one.instance))[0][2])
            for one in self.view.objects
        }

    def instance_under(self, mask: NDArray[np.bool_] | None) -> int:
        """The object that a mask (H, W) covers most; 0: none."""
        if mask is None or not mask.any():
            return 0
        return int(np.bincount(self.view.instances[mask], minlength=1).argmax())
