# SPDX-License-Identifier: Apache-2.0
"""One command and its operator's dialogue: a reset meanwhile, and the frame that a dialogue keeps."""

from __future__ import annotations

from dataclasses import replace

import camera_images
from ros_harness import talking_node
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.nodes.lisa.camera.camera import Camera
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.commands.processing import Processor
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Processed, Request
from lisa_ros.segmentation.turns import Turn


class Bench:
    """A processor with a camera, without threads."""

    def __init__(self, parameters: LiveParameters) -> None:
        parameters.current = replace(parameters.current, max_image_age=0.0, follow_up_frame="dialogue")
        self.dialogues, self.segmenter = Dialogues(), ScriptedSegmenter()
        self.processor = Processor(parameters, self.dialogues)
        self.camera = Camera("/image", FrameBuffer(lambda: 1, lambda: 0.0, lambda: 0.02), lambda: 1)

    def show(self, seconds: int) -> None:
        message = camera_images.message("rgb8")
        message.header.stamp.sec = seconds
        self.camera.frames.add_image(message)

    def process(self, text: str, meanwhile: object = None) -> Processed:
        request = Request("1", "ann", text)
        dialogue = self.processor.dialogue(request)
        encoded = self.processor.encode(request, dialogue, self.segmenter, self.camera)
        if callable(meanwhile):
            meanwhile()
        return self.processor.infer(request, dialogue, encoded, self.segmenter, lambda: False, 0.0)


def test_a_reset_meanwhile_does_not_mix_the_old_dialogue_with_the_new_one() -> None:
    """The command is answered with the dialogue that it was given in, and is not kept in the new one."""
    with talking_node("bench") as node:
        bench = Bench(LiveParameters(node, lambda: False))
        bench.show(1)
        bench.dialogues.append("ann", Turn("old", "answer"))

        def reset() -> None:
            bench.dialogues.reset("ann")
            bench.dialogues.append("ann", Turn("new", "answer"))

        processed = bench.process("history", reset)
        assert processed.outcome.answer == "History: old" and processed.remember() == 0
        assert [turn.command for turn in processed.outcome.history] == ["old"], "the tracker uses these turns"
        assert [turn.command for turn in bench.dialogues.turns("ann")] == ["new"]


def test_a_reset_meanwhile_does_not_give_the_new_dialogue_the_old_frame() -> None:
    with talking_node("bench") as node:
        bench = Bench(LiveParameters(node, lambda: False))
        bench.show(1)
        assert bench.process("red").remember() == 1
        bench.show(2)
        assert bench.process("red").encoded.header.stamp.sec == 1, "the dialogue's frame"
        late = bench.process("red", lambda: bench.dialogues.reset("ann"))
        assert late.remember() == 0
        bench.show(3)
        assert bench.process("red").encoded.header.stamp.sec == 3


def test_a_released_models_frames_are_deleted() -> None:
    with talking_node("bench") as node:
        bench = Bench(LiveParameters(node, lambda: False))
        bench.show(1)
        bench.process("red").remember()
        bench.processor.forget_frames()
        bench.show(2)
        assert bench.process("red").encoded.header.stamp.sec == 2
