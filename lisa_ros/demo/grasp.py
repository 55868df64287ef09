# SPDX-License-Identifier: Apache-2.0
"""A small planner: gets an object on the simulated table from lisa_node, and prints where a gripper would take it.

`python -m lisa_ros.demo.grasp "the blue can"`, while `ros2 launch lisa_ros demo.launch.py` runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from lisa_ros.client import LisaClient, ObjectPose, Status
from lisa_ros.demo.failure import DemoError
from lisa_ros.spatial.grasping import CannotGraspError, Grasp, Gripper, grasp_from_above
from lisa_ros.spatial.rotation import transform_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Sends the command and prints the grasp.

    Returns:
        0; 1 where there is none: stderr has the reason.
    """
    options = _parser().parse_args(arguments)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        frame, to_frame = camera_pose(options.camera_pose, options.timeout)
        pose = find_pose(options.text, options.lisa, options.timeout)
        up = (float(to_frame[2, 0]), float(to_frame[2, 1]), float(to_frame[2, 2]))
        gripper = Gripper(opening_m=options.opening)
        grasp = grasp_from_above(pose.box_centre_m, pose.box_size_m, pose.orientation, gripper, up=up)
    except (DemoError, CannotGraspError) as error:
        print(f"grasp: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    print(describe("the camera's optical frame", grasp))
    print(describe(f"frame {frame!r}", grasp.in_frame(to_frame)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lisa_ros.demo.grasp", description=__doc__)
    parser.add_argument("text", help='what to take, such as "the blue can"')
    parser.add_argument("--lisa", default="lisa", help="the node's name, with its namespace (default: %(default)s)")
    parser.add_argument("--camera-pose", default="sim_camera/camera_pose", help="topic (default: %(default)s)")
    parser.add_argument("--opening", type=float, default=Gripper().opening_m, help="widest, m (default: %(default)g)")
    parser.add_argument("--timeout", type=float, default=60.0, help="longest wait, s (default: %(default)g)")
    return parser


def find_pose(text: str, lisa: str, timeout_s: float) -> ObjectPose:
    """The pose of the first object that the text means.

    Raises:
        DemoError: there is no answer, no such object, or it has no 3-D position.
    """
    with LisaClient(lisa) as client:
        client.segment(text, operator="planner", timeout_s=timeout_s)
        if not client.is_complete(timeout_s):
            client.cancel()
        result = client.result()
    if result.status is not Status.OK:
        raise DemoError(result.message or f"The answer is {result.status.name}.")
    pose = result.objects[0].pose
    if pose is None:
        raise DemoError(result.objects[0].no_pose)
    return pose


def camera_pose(topic: str, timeout_s: float) -> tuple[str, NDArray[np.float64]]:
    """The frame of sim_camera's pose, and (4, 4) from the optical frame to it. On a robot, use TF.

    Raises:
        DemoError: no message came in time.
    """
    node, came = rclpy.create_node("grasp_camera_pose"), Future()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(PoseStamped, topic, came.set_result, latched)
    rclpy.spin_until_future_complete(node, came, timeout_sec=timeout_s)
    node.destroy_node()
    if not came.done():
        raise DemoError(f"No message came on {topic}; is sim_camera running?")
    received = came.result()
    p, q = received.pose.position, received.pose.orientation
    return str(received.header.frame_id), transform_of((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def describe(where: str, grasp: Grasp) -> str:
    """Lines for people: metres, and a quaternion x, y, z, w."""
    rows = (
        ("from", grasp.before_m),
        ("to", grasp.position_m),
        ("orientation", grasp.orientation),
        ("opening", (grasp.opening_m,)),
    )
    lines = [f"  {name:12}" + " ".join(f"{value:7.3f}" for value in values) for name, values in rows]
    return "\n".join([f"In {where}:", *lines])


if __name__ == "__main__":
    sys.exit(main())
