# SPDX-License-Identifier: Apache-2.0
"""lisa_node with a real model answers, is cleaned up, and says whether its weights are gone; exit code 0 if so.

Run as a program: the folder of a checkpoint, then ROS's arguments.
"""

import gc
import sys
import threading
import weakref
from typing import Any

import pictures
import rclpy

from lisa_ros.msg import Command
from lisa_ros.nodes.lisa.node import LisaNode, load_from_parameters


def answered(node: LisaNode) -> None:
    """One command through the whole node, the following of what it found as well."""
    done = threading.Event()
    follow = node._commands.when_answered

    def then(*told: Any) -> None:
        follow(*told)
        done.set()

    node._commands.when_answered = then
    node._commands.camera.frames.take_image(pictures.message("rgb8"))
    node._on_command(Command(text="ball", answer="mask_only"))
    assert done.wait(60.0), "no answer"


def main() -> int:
    rclpy.init(args=["--ros-args", "-p", f"checkpoint:={sys.argv[1]}", "-p", "device:=cpu", "-p", "dialogue_file:=''"])
    node = LisaNode(load=load_from_parameters)
    node.start()
    weights = weakref.ref(node._commands.model.segmenter._lisa.network)
    answered(node)
    node.trigger_deactivate()
    node.trigger_cleanup()
    gc.collect()
    gone = weights() is None
    node.close()
    node.destroy_node()
    return 0 if gone else 1


if __name__ == "__main__":
    sys.exit(main())
