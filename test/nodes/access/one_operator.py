# SPDX-License-Identifier: Apache-2.0
"""An operator's program: `one_operator.py NAME OPERATOR` sends commands on OPERATOR's topic and waits for answers.

Prints one JSON object: the number of answers on OPERATOR's topic, and why a topic could not be created.
"""

import json
import sys
import time

import rclpy

from lisa_ros.msg import Command, Segmentation

_WAIT_S = 15.0


def main(name: str, operator: str) -> None:
    rclpy.init()
    node = rclpy.create_node(f"operator_{name}")
    answers: list[Segmentation] = []
    errors = []
    publisher = None
    try:
        node.create_subscription(Segmentation, f"/lisa/operators/{operator}/answer", answers.append, 10)
    except Exception as error:
        errors.append(str(error))
    try:
        publisher = node.create_publisher(Command, f"/lisa/operators/{operator}/command", 10)
    except Exception as error:
        errors.append(str(error))
    end_s = time.monotonic() + _WAIT_S
    while time.monotonic() < end_s and not answers and not (errors and publisher is None):
        if publisher is not None:
            publisher.publish(Command(text="red"))
        rclpy.spin_once(node, timeout_sec=0.5)
    print(json.dumps({"answers": len(answers), "errors": errors}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
