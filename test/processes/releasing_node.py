# SPDX-License-Identifier: Apache-2.0
"""lisa_node with a real model: answers one command, is cleaned up, and checks that its weights are freed.

Usage: releasing_node.py CHECKPOINT. Exit code 0: the weights are freed.
"""

import gc
import sys
import threading
import weakref
from typing import Any

import camera_images
import rclpy

from lisa_ros.msg import Command
from lisa_ros.nodes.lisa.node import LisaNode, load_from_parameters


def answered(node: LisaNode) -> None:
    """Process one command and start to track its object."""
    done = threading.Event()
    track = node._commands.on_answered

    def answered_and_tracked(*arguments: Any) -> None:
        track(*arguments)
        done.set()

    node._commands.on_answered = answered_and_tracked
    node._commands.camera.frames.add_image(camera_images.message("rgb8"))
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
