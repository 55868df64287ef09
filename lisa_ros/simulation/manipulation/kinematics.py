# SPDX-License-Identifier: Apache-2.0
"""Inverse kinematics of the Franka Emika Panda by PyBullet, in a world of its own.

The robot's description is the one that pybullet_data ships (franka_panda, Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pybullet_data
from numpy.typing import NDArray

from lisa_ros.simulation.bullet import Bullet
from lisa_ros.simulation.engine import pybullet

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Joints = NDArray[np.float64]
"""(7,), radians."""

ARM, FINGERS, TIP = tuple(range(7)), (9, 10), 11
"""Numbers of joints and links in the robot's description."""
REACHED_M, REACHED_RAD = 0.004, 0.05
"""A pose with a larger remaining error cannot be reached."""

_LOWER = np.array((-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973))
_UPPER = np.array((2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973))
_FINGER_M = 0.04
_TRIES = 40


class UnreachableError(Exception):
    """The arm cannot reach a pose; the text is one sentence."""


def load_panda(bullet: Bullet, base_m: Vector) -> int:
    """Put the robot into a world, with its base fixed; returns its body."""
    urdf = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    return int(bullet.loadURDF(str(urdf), base_m, useFixedBase=True))


class ArmKinematics:
    """From poses of the finger tips to joint angles."""

    def __init__(self, base_m: Vector) -> None:
        """For an arm whose base is here."""
        self._bullet = Bullet()
        self._body = load_panda(self._bullet, base_m)

    def close(self) -> None:
        """Free the world."""
        self._bullet.close()

    def solve(self, position_m: Vector, orientation: Quaternion, near: Joints) -> Joints:
        """Joint angles for a pose of the finger tips, near to other angles.

        The hand is symmetric: it may be turned by 180 degrees about its approach direction.

        Raises:
            UnreachableError: there are none within the joints' limits.
        """
        found = []
        for turn in ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0)):
            wanted = pybullet.multiplyTransforms((0, 0, 0), orientation, (0, 0, 0), turn)[1]
            joints = self._solve(position_m, wanted, near)
            if joints is not None:
                found.append((float(np.abs(joints - near).max()), joints))
        if not found:
            place = ", ".join(f"{value:.2f}" for value in position_m)
            raise UnreachableError(f"The arm does not reach ({place}) m from above.")
        return min(found, key=lambda one: one[0])[1]

    def _solve(self, position_m: Vector, orientation: Quaternion, near: Joints) -> Joints | None:
        joints = near
        for _ in range(_TRIES):
            self._place(joints)
            solved = self._bullet.calculateInverseKinematics(
                self._body,
                TIP,
                position_m,
                orientation,
                lowerLimits=[*_LOWER.tolist(), 0.0, 0.0],
                upperLimits=[*_UPPER.tolist(), _FINGER_M, _FINGER_M],
                jointRanges=[*(_UPPER - _LOWER).tolist(), _FINGER_M, _FINGER_M],
                restPoses=[*near.tolist(), _FINGER_M, _FINGER_M],
                maxNumIterations=50,
            )
            joints = np.clip(np.array(solved[:7]), _LOWER, _UPPER)
            self._place(joints)
            if self._reached(position_m, orientation):
                return joints
        return None

    def _place(self, joints: Joints) -> None:
        for joint, angle in zip(ARM, joints.tolist(), strict=True):
            self._bullet.resetJointState(self._body, joint, angle)

    def _reached(self, position_m: Vector, orientation: Quaternion) -> bool:
        state = self._bullet.getLinkState(self._body, TIP, computeForwardKinematics=True)
        cosine = min(1.0, abs(float(np.dot(state[5], orientation))))
        near_m = float(np.linalg.norm(np.subtract(state[4], position_m)))
        return near_m <= REACHED_M and 2.0 * float(np.arccos(cosine)) <= REACHED_RAD
