# SPDX-License-Identifier: Apache-2.0
"""Processes one command: the operator's dialogue, the frame, and the model's answer."""

from collections.abc import Callable
from dataclasses import replace

from lisa_ros.dialogue.dialogues import Dialogues, DialogueSnapshot, ForgottenTurnError
from lisa_ros.dialogue.operators import operator_name
from lisa_ros.nodes.lisa.camera.camera import Camera, Choice
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame
from lisa_ros.nodes.lisa.commands.inference import InferenceSettings, run_inference
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.nodes.lisa.request import Processed, Request
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.turns import Turn


class Processor:
    """Processes commands. Thread-safe.

    One command uses one snapshot of its operator's dialogue, so that a reset meanwhile cannot mix two dialogues.
    """

    def __init__(self, parameters: LiveParameters, dialogues: Dialogues) -> None:
        self._parameters, self._dialogues = parameters, dialogues

    def dialogue(self, request: Request) -> DialogueSnapshot:
        """The dialogue of the command's operator, now; an empty one for an independent command."""
        if request.independent:
            return DialogueSnapshot((), 0)
        return self._dialogues.snapshot(operator_name(request.operator_id))

    def reference_refusal(self, request: Request) -> str | None:
        """Why the command's references are not in its operator's dialogue; None: they are."""
        try:
            self.dialogue(request).check_kept(request.references)
        except ForgottenTurnError as error:
            return str(error)
        return None

    def encode(
        self, request: Request, dialogue: DialogueSnapshot, segmenter: Segmenter, camera: Camera
    ) -> EncodedFrame:
        """Choose and encode the frame that the command is about.

        Raises:
            NoImageError: There is no usable image.
            ImageError: The image cannot be decoded.
        """
        parameters = self._parameters.current
        if parameters.follow_up_frame == "dialogue" and isinstance(dialogue.frame, EncodedFrame):
            return replace(dialogue.frame, known=True)
        frame = camera.choose(frame_choice(parameters, request.stamp_ns, request.frame))
        return camera.encode(segmenter, frame, parameters.same_frame_difference)

    def infer(
        self,
        request: Request,
        dialogue: DialogueSnapshot,
        encoded: EncodedFrame,
        segmenter: Segmenter,
        cancelled: Callable[[], bool],
        started_s: float,
    ) -> Processed:
        """Run the model on the command, see run_inference."""
        parameters = self._parameters.current
        settings = InferenceSettings(
            parameters.max_new_tokens,
            request.answer or parameters.answer,
            max_history_tokens=parameters.max_dialogue_tokens,
            min_score=parameters.min_score,
        )
        outcome, turn = run_inference(segmenter, dialogue, request, encoded, settings, cancelled, started_s)
        if turn is None or request.independent:
            return Processed(outcome, encoded)
        expected = dialogue.next_number if parameters.max_turns else 0
        remember = lambda: self._remember(request, dialogue, turn, encoded)  # noqa: E731
        return Processed(replace(outcome, turn=expected), encoded, remember)

    def forget_frames(self) -> None:
        """Delete the dialogues' frames: the model that encoded them is released."""
        self._dialogues.forget_frames()

    def _remember(self, request: Request, dialogue: DialogueSnapshot, turn: Turn, encoded: EncodedFrame) -> int:
        frame = encoded if self._parameters.current.follow_up_frame == "dialogue" else None
        return self._dialogues.append(operator_name(request.operator_id), turn, dialogue.generation, frame=frame)


def frame_choice(parameters: NodeParameters, stamp_ns: int, reserved: CameraFrame | None = None) -> Choice:
    """Which frame a command needs.

    Args:
        parameters: The node's parameters.
        stamp_ns: The command's stamp in nanoseconds; 0: not set.
        reserved: The frame that was reserved when the command arrived; None: none was.
    """
    return Choice(stamp_ns, reserved, parameters.command_frame, parameters.max_image_age)
