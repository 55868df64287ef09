# SPDX-License-Identifier: Apache-2.0
"""A Franka Emika Panda at the simulated table: it takes what is at a pose and holds it up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation.bullet import Bullet
from lisa_ros.simulation.engine import pybullet
from lisa_ros.simulation.manipulation.kinematics import (
    ARM,
    FINGERS,
    ArmKinematics,
    Joints,
    Quaternion,
    UnreachableError,
    Vector,
    load_panda,
)

BASE_M: Vector = (-0.45, 0.0, 0.0)
OPENING_M = 0.08
"""The hand's maximum opening."""
FORCE_N = 40.0
"""Of each finger; the real hand holds with up to 70 N."""
LIFT_M = 0.15
HELD_UP_M: Vector = (-0.05, 0.0, 0.35)

_READY = np.array((0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.785))
_PARKED = np.array((2.8, -1.2, 0.0, -2.8, 0.0, 2.4, 0.785))
"""Turned away from the table, out of the camera's view."""
_TORQUES_NM = (87.0, 87.0, 87.0, 87.0, 40.0, 40.0, 40.0)
_OPEN_N = 200.0
_PARTS, _PART_STEPS = 20, 12

Floats = NDArray[np.float64]


class Arm:
    """The arm. Use it in a `with` statement, or call `close`."""

    def __init__(self, bullet: Bullet, on_step: Callable[[], None] = lambda: None) -> None:
        """Put the arm at the table, parked.

        Args:
            bullet: the world.
            on_step: called after every step of the simulation (1/240 s), for example to take images.
        """
        self._bullet, self._on_step = bullet, on_step
        self._kinematics = ArmKinematics(BASE_M)
        self.body = load_panda(bullet, BASE_M)
        for finger in FINGERS:
            bullet.changeDynamics(self.body, finger, lateralFriction=1.0, spinningFriction=0.05)
        self.park()

    def __enter__(self) -> Self:
        """The arm itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free its kinematics; its body ends with the world."""
        self.close()

    def close(self) -> None:
        """Free its kinematics; its body ends with the world."""
        self._kinematics.close()

    def park(self) -> None:
        """Be parked at once, without moving there, with the hand open."""
        self._joints, self._opening_m, self._force_n = _PARKED, OPENING_M, _OPEN_N
        for joint, angle in zip(ARM, _PARKED.tolist(), strict=True):
            self._bullet.resetJointState(self.body, joint, angle)
        for finger in FINGERS:
            self._bullet.resetJointState(self.body, finger, OPENING_M / 2.0)
        self._command()

    def pick(self, position_m: Vector, orientation: Quaternion, opening_m: float, above_m: float = 0.1) -> None:
        """Take what is between the fingers at a pose, and hold it up.

        Args:
            position_m: of the middle between the finger tips, in the table's frame.
            orientation: x, y, z, w: z is the approach direction, y the closing direction.
            opening_m: between the fingers on the way there.
            above_m: from how far away, against the approach direction, the hand comes in a straight line.

        Raises:
            UnreachableError: the arm does not reach the pose; it has not moved.
        """
        there = np.asarray(position_m)
        approach = np.array(pybullet.getMatrixFromQuaternion(orientation)).reshape(3, 3)[:, 2]
        before, lifted = there - above_m * approach, there + np.array((0.0, 0.0, LIFT_M))
        begin = self._solved(before, orientation, _READY)
        down = self._straight(before, there, orientation, begin)
        up = self._straight(there, lifted, orientation, down[-1])
        self._open(opening_m, _OPEN_N, 60)
        self._turn_to(begin, 480)
        self._follow(down)
        self._open(0.0, FORCE_N, 180)
        self._follow(up)
        self._hold_up(orientation)

    def _hold_up(self, orientation: Quaternion) -> None:
        """Bring the hand to HELD_UP_M; where the arm does not reach that, the hand stays where it is."""
        with contextlib.suppress(UnreachableError):
            self._turn_to(self._solved(np.asarray(HELD_UP_M), orientation, self._joints), 480)
        self._run(120)

    def _straight(self, begin: Floats, end: Floats, orientation: Quaternion, joints: Joints) -> list[Joints]:
        """Joint angles along a straight line that begins at some joint angles."""
        path = []
        for part in np.linspace(0.0, 1.0, _PARTS + 1)[1:]:
            joints = self._solved(begin + (end - begin) * part, orientation, joints)
            path.append(joints)
        return path

    def _follow(self, path: Sequence[Joints]) -> None:
        for joints in path:
            self._turn_to(joints, _PART_STEPS)
        self._run(60)

    def _solved(self, position_m: Floats, orientation: Quaternion, near: Joints) -> Joints:
        x, y, z = position_m.tolist()
        return self._kinematics.solve((x, y, z), orientation, near)

    def _turn_to(self, goal: Joints, steps: int) -> None:
        begin = self._joints
        for step in range(1, steps + 1):
            self._joints = begin + (goal - begin) * (step / steps)
            self._command()
            self._run(1)

    def _open(self, opening_m: float, force_n: float, steps: int) -> None:
        begin, goal = self._opening_m, min(opening_m, OPENING_M)
        self._force_n = force_n
        for step in range(1, steps + 1):
            self._opening_m = begin + (goal - begin) * (step / steps)
            self._command()
            self._run(1)

    def _command(self) -> None:
        self._bullet.setJointMotorControlArray(
            self.body, ARM, pybullet.POSITION_CONTROL, targetPositions=self._joints.tolist(), forces=_TORQUES_NM
        )
        for finger in FINGERS:
            self._bullet.setJointMotorControl2(
                self.body, finger, pybullet.POSITION_CONTROL, targetPosition=self._opening_m / 2.0, force=self._force_n
            )

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._bullet.stepSimulation()
            self._on_step()
