# SPDX-License-Identifier: Apache-2.0
"""lisa_node with a real model: answers one command, is cleaned up, and checks that its weights are freed.

Usage: releasing_node.py CHECKPOINT. Exit code 0: the weights are freed.
"""

import gc
import sys
import weakref
from typing import Any

import camera_images
import rclpy
from ros_harness import wait_until

from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.lisa.node import LisaNode, load_from_parameters


class Listener:
    """Waits for the answer of one command."""

    answer: Segmentation | None = None

    def on_event(self, event: Any, header: Any) -> None:
        pass

    def on_answer(self, answer: Segmentation) -> None:
        self.answer = answer


def answer_one_command(node: LisaNode) -> None:
    """Process one command and start to track its object."""
    camera = node._state.now.camera
    assert camera is not None
    camera.frames.add_image(camera_images.message("rgb8"))
    listener = Listener()
    node._commands.accept(node._commands.request(Command(text="ball", answer="mask_only"), listener))
    wait_until(lambda: listener.answer, "the answer")


def main() -> int:
    rclpy.init(
        args=[
            "--ros-args",
            "-p",
            f"checkpoint:={sys.argv[1]}",
            "-p",
            "device:=cpu",
            "-p",
            "dialogue_file:=''",
            "-p",
            "autostart:=false",
        ]
    )
    node = LisaNode(load=load_from_parameters)
    node.trigger_configure()
    node.trigger_activate()
    model: Any = node._state.now.model
    weights = weakref.ref(model.segmenter._lisa.network)
    del model
    answer_one_command(node)
    node.trigger_deactivate()
    node.trigger_cleanup()
    gc.collect()
    gone = weights() is None
    node.close()
    node.destroy_node()
    return 0 if gone else 1


if __name__ == "__main__":
    sys.exit(main())
