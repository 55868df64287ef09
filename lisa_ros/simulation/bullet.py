# SPDX-License-Identifier: Apache-2.0
"""One physics world of PyBullet, whose functions need no world id."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lisa_ros.simulation.engine import pybullet


class Bullet:
    """A world of its own, without a window; `bullet.name(...)` calls `pybullet.name` for this world.

    pybullet_utils has such a class too, but it writes to standard output whenever it connects.
    """

    def __init__(self) -> None:
        """Opens the world.

        Raises:
            RuntimeError: PyBullet cannot open another world.
        """
        self._world: int = pybullet.connect(pybullet.DIRECT)
        if self._world < 0:
            raise RuntimeError("PyBullet opened no further physics world: close some tables first")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The function of PyBullet of that name, for this world."""
        return partial(getattr(pybullet, name), physicsClientId=self._world)

    def close(self) -> None:
        """Frees the world; calling it again does nothing."""
        if self._world >= 0:
            pybullet.disconnect(physicsClientId=self._world)
            self._world = -1
