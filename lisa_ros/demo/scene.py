# SPDX-License-Identifier: Apache-2.0
"""An image of the simulated camera, and its true masks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.script import SEED, Line, ObjectName
from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.segmentation.masks import Mask


@dataclass(frozen=True)
class Scene:
    """An image of the table.

    Attributes:
        image: RGB (H, W, 3) uint8.
        instances: (H, W) uint8, the number of the object at each pixel, 0 for none.
        numbers: the objects' numbers by name.
    """

    image: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    numbers: dict[ObjectName, list[int]]

    @classmethod
    def from_messages(cls, image: Any, instances: Any, objects: Any) -> Scene:
        """From sim_camera's `image`, `instances` (sensor_msgs/Image) and `~/objects` (std_msgs/String, JSON)."""
        numbers: dict[ObjectName, list[int]] = {}
        for described in json.loads(objects.data):
            numbers.setdefault(ObjectName(described["colour"], described["kind"]), []).append(described["instance"])
        return cls(rgb_image_from(image), rgb_image_from(instances)[:, :, 0], numbers)

    def true_mask(self, line: Line) -> Mask:
        """(H, W): the pixels of the object that is meant; none for an absent one."""
        return np.isin(self.instances, np.array(self.numbers.get(line.meant, []), dtype=np.uint8))

    def check(self, lines: Iterable[Line]) -> None:
        """Checks that the commands fit this scene.

        Raises:
            DemoError: an object that is meant is not visible exactly once, or one that should be absent is visible.
        """
        for line in lines:
            wanted = 0 if line.absent else 1
            there = len(self.numbers.get(line.meant, []))
            if there != wanted:
                table = ", ".join(str(name) for name, all_ in self.numbers.items() for _ in all_)
                raise DemoError(
                    f"The command {line.text!r} needs a scene with {'no' if line.absent else 'one'} {line.meant}; this"
                    f" one shows: {table or 'nothing'}. --seed {SEED} (the default) fits all commands."
                )
