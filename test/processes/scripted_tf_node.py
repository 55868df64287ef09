# SPDX-License-Identifier: Apache-2.0
"""lisa_node with the scripted segmenter and a scripted buffer of transforms, in its own process.

The buffer knows "base_link", which it has only from the second look on, as tf2 does while /tf is on its way.
"""

import sys
import time
from typing import Any

from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from scripted_node import load

from lisa_ros.nodes.lisa.node import main

# The camera 1 m above the origin of base_link, with its optical axis straight down and the image's top towards x.
TRANSLATION = (0.2, -0.1, 1.0)
ROTATION = (0.5**0.5, -(0.5**0.5), 0.0, 0.0)


class ScriptedBuffer:
    def __init__(self, node: Any) -> None:
        self._missing = 1

    def lookup_transform(self, target_frame: str, source_frame: str, time_: Any, timeout: Any) -> TransformStamped:
        assert source_frame == "camera_optical" and time_.nanoseconds > 0
        until_s = time.monotonic() + timeout.nanoseconds / 1e9
        while target_frame != "base_link" or self._missing:
            self._missing = max(0, self._missing - 1) if target_frame == "base_link" else self._missing
            if time.monotonic() > until_s:
                raise LookupError(f'"{target_frame}" passed to lookupTransform does not exist.')
            time.sleep(0.02)
        (x, y, z), (i, j, k, w) = TRANSLATION, ROTATION
        rotation = Quaternion(x=i, y=j, z=k, w=w)
        return TransformStamped(transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=rotation))


if __name__ == "__main__":
    sys.exit(main(load=load, open_buffer=ScriptedBuffer))
