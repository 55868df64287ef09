# SPDX-License-Identifier: Apache-2.0
"""Pick what a command names with MoveIt 2: `python3 examples/moveit_pick.py "the red mug"`.

Needs a robot's MoveIt configuration (planning group "arm", tip link "hand_tcp" whose z axis is the approach direction),
and tf2_ros beside lisa_node.
"""

import sys

import numpy as np
import rclpy
from geometry_msgs.msg import Point, PoseStamped, Quaternion

from lisa_ros.client import LisaClient, ObjectGrip, Result, Status
from lisa_ros.spatial.rotation import rotation_of

ABOVE_M = 0.10


def find(text: str, frame: str, timeout_s: float = 60.0) -> Result:
    """The answer to one independent question, with its grip in a planner's frame."""
    with LisaClient() as lisa:
        lisa.segment(text, operator="planner", dialogue="none", masks="none", frame=frame, grip="antipodal")
        if not lisa.is_complete(timeout_s):
            lisa.cancel()
        return lisa.result()


def grip_of(result: Result) -> ObjectGrip:
    """The grip of the first object; ends the program with the reason where there is none."""
    if result.status is not Status.OK:
        sys.exit(f"{result.status.name}: {result.message}")
    found = result.objects[0]
    if found.grip is None:
        sys.exit(f"The {found.name} cannot be gripped: {found.no_grip or found.no_pose}")
    return found.grip


def poses(grip: ObjectGrip, frame: str) -> list[PoseStamped]:
    """The tip link's poses: ABOVE_M before the grip, and at the grip."""
    approach = rotation_of(grip.orientation)[:, 2]
    x, y, z, w = grip.orientation
    made = []
    for back_m in (ABOVE_M, 0.0):
        place = np.asarray(grip.position_m) - back_m * approach
        pose = PoseStamped()
        pose.header.frame_id = frame
        pose.pose.position = Point(x=float(place[0]), y=float(place[1]), z=float(place[2]))
        pose.pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
        made.append(pose)
    return made


def main() -> None:
    """Move to the grip. Closing the gripper is the robot's own."""
    from moveit.planning import MoveItPy  # MoveIt's Python package comes with the robot's ROS, not from pip

    rclpy.init()
    frame = "base_link"
    wanted = poses(grip_of(find(sys.argv[1], frame)), frame)
    moveit = MoveItPy(node_name="lisa_pick")
    arm = moveit.get_planning_component("arm")
    for pose in wanted:
        arm.set_start_state_to_current_state()
        arm.set_goal_state(pose_stamped_msg=pose, pose_link="hand_tcp")
        plan = arm.plan()
        if not plan:
            sys.exit("MoveIt found no plan to the grip.")
        moveit.execute(plan.trajectory, controllers=[])


if __name__ == "__main__":
    main()
