# SPDX-License-Identifier: Apache-2.0
"""A simple parallel gripper without an arm, in the simulator: two fingers that a force closes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation.bullet import Bullet
from lisa_ros.simulation.engine import pybullet

FINGER_M = (0.02, 0.01, 0.06)
"""Width, thickness and length of a finger."""
FORCE_N = 25.0
LIFT_M, LIFTED_M = 0.15, 0.08
"""How far the gripper rises, and how far the object must have risen with it to count as lifted."""
_DOWN, _CLOSE, _UP, _HOLD = 240, 180, 360, 120
_STRONG_N = 2000.0

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


def try_grasp(
    bullet: Bullet, body: int, position_m: Vector, orientation: Quaternion, opening_m: float, above_m: float = 0.1
) -> bool:
    """Grasp a body from above and lift it; afterwards the world is as before.

    Args:
        bullet: the world, at rest.
        body: the one to lift.
        position_m: of the middle between the finger tips, in the world.
        orientation: x, y, z, w: z is the approach direction, y the closing direction.
        opening_m: between the fingers on the way down.
        above_m: from where the gripper comes down.

    Returns:
        whether the body was lifted and stayed in the gripper.
    """
    state = bullet.saveState()
    before_m = bullet.getBasePositionAndOrientation(body)[0][2]
    there, up = np.asarray(position_m), np.array([0.0, 0.0, 1.0])
    gripper = _Gripper(bullet, there + above_m * up, orientation, opening_m)
    gripper.move(there, _DOWN)
    gripper.close()
    gripper.move(there + LIFT_M * up, _UP)
    for _ in range(_HOLD):
        bullet.stepSimulation()
    lifted = bullet.getBasePositionAndOrientation(body)[0][2] - before_m >= LIFTED_M
    gripper.remove()
    bullet.restoreState(state)
    bullet.removeState(state)
    return bool(lifted)


class _Gripper:
    def __init__(
        self, bullet: Bullet, position_m: NDArray[np.float64], orientation: Quaternion, opening_m: float
    ) -> None:
        self._bullet, self._position, self._orientation = bullet, position_m, orientation
        width, thickness, length = FINGER_M
        finger = bullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=(width / 2, thickness / 2, length / 2))
        places = [(0.0, side * (opening_m + thickness) / 2.0, -length / 2.0) for side in (1.0, -1.0)]
        self._body = bullet.createMultiBody(
            baseMass=2.0, basePosition=position_m.tolist(), baseOrientation=orientation,
            linkMasses=[0.1, 0.1], linkCollisionShapeIndices=[finger, finger], linkVisualShapeIndices=[-1, -1],
            linkPositions=places, linkOrientations=[(0, 0, 0, 1)] * 2,
            linkInertialFramePositions=[(0, 0, 0)] * 2, linkInertialFrameOrientations=[(0, 0, 0, 1)] * 2,
            linkParentIndices=[0, 0], linkJointTypes=[pybullet.JOINT_PRISMATIC] * 2,
            linkJointAxis=[(0, -1, 0), (0, 1, 0)],
        )  # fmt: skip
        for link in (0, 1):
            bullet.changeDynamics(self._body, link, lateralFriction=1.0, spinningFriction=0.05)
        self._hold(0.0, 200.0)
        self._constraint = bullet.createConstraint(
            self._body, -1, -1, -1, pybullet.JOINT_FIXED, (0, 0, 0), (0, 0, 0), position_m.tolist(), (0, 0, 0, 1),
            orientation,
        )  # fmt: skip

    def move(self, to_m: NDArray[np.float64], steps: int) -> None:
        """Move in a straight line."""
        begin = self._position
        for step in range(1, steps + 1):
            place = begin + (to_m - begin) * (step / steps)
            self._bullet.changeConstraint(
                self._constraint, place.tolist(), jointChildFrameOrientation=self._orientation, maxForce=_STRONG_N
            )
            self._bullet.stepSimulation()
        self._position = to_m

    def close(self) -> None:
        """Close the fingers with FORCE_N each."""
        for step in range(_CLOSE):
            self._hold(0.06 * (step + 1) / _CLOSE, FORCE_N)
            self._bullet.stepSimulation()

    def remove(self) -> None:
        """Take the gripper out of the world."""
        self._bullet.removeConstraint(self._constraint)
        self._bullet.removeBody(self._body)

    def _hold(self, travel_m: float, force_n: float) -> None:
        for link in (0, 1):
            self._bullet.setJointMotorControl2(
                self._body, link, pybullet.POSITION_CONTROL, targetPosition=travel_m, force=force_n
            )
