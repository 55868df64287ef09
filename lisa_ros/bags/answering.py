# SPDX-License-Identifier: Apache-2.0
"""Answers the commands of a bag, each about its frame and in its operator's dialogue."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.bags.commands import BagCommand
from lisa_ros.bags.frames import BagFrame
from lisa_ros.bags.reading import Bag, Stored
from lisa_ros.bags.types import deserialize
from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.images.decoding import depth_from, rgb_from
from lisa_ros.segmentation.answers import CommandError, Finished, Mask, MaskFound, ObjectMask, checked_events
from lisa_ros.segmentation.errors import ImageError, LisaError
from lisa_ros.segmentation.found import answer_detail, found_objects
from lisa_ros.segmentation.interface import EncodedImage, Segmenter
from lisa_ros.segmentation.turns import Turn, turn_of
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.camera_info import camera_from
from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.grips.gripping import grip_of
from lisa_ros.spatial.locating import Located, NotLocated, NotLocatedReason, locate
from lisa_ros.spatial.parts import separate_objects
from lisa_ros.spatial.registration import OtherFrameError, check_frame_id, depth_on_grid
from lisa_ros.tracking.stillness import same_scene

Rgb = NDArray[np.uint8]

_NODE_GRIPPER = Gripper(opening_m=0.08, clearance_m=0.005, reach_m=0.04)
"""The defaults of the node's parameters."""


@dataclass(frozen=True)
class AnswerSettings:
    """Settings of the answers; the node has parameters of the same names.

    Attributes:
        max_new_tokens: Maximum length of an answer, tokens.
        max_image_age_s: Maximum age of the image at the command's time; 0: no limit.
        same_frame_difference: See tracking.stillness.same_scene.
        image_rectified: Whether P of camera_info applies, and not K and D.
        grip: One of GRIP_STRATEGIES.
        gripper: For the strategy antipodal.
    """

    max_new_tokens: int = 512
    max_image_age_s: float = 5.0
    same_frame_difference: float = 6.0
    image_rectified: bool = False
    grip: str = "top_plane"
    gripper: Gripper = _NODE_GRIPPER


@dataclass(frozen=True)
class BagAnswer:
    """The answer to one command.

    Attributes:
        command: The command.
        time_ns: Its time.
        status: The name of a constant of Segmentation.msg.
        detail: The reason in one sentence if the status is not OK, and what the model cannot do of the command.
        frame: The messages of the frame; None: there is none.
        image: The frame's image, RGB; None: there is none.
        turn: The dialogue's turn; None: it became none.
        model: The name of the model that answered; empty: none did.
        objects: Those of the turn that count.
        locations: One for each object.
        grips: One for each object; None: it is not located, or no grip is wanted.
        frame_known: Whether the image was encoded before.
        first_mask_ms: From the start to the first mask; 0: none.
        total_ms: From the start to the whole answer.
    """

    command: BagCommand
    time_ns: int
    status: str
    detail: str = ""
    frame: BagFrame | None = None
    image: Rgb | None = None
    turn: Turn | None = None
    model: str = ""
    objects: tuple[ObjectMask, ...] = ()
    locations: tuple[Located | NotLocated, ...] = ()
    grips: tuple[Grip | NoGrip | None, ...] = ()
    frame_known: bool = False
    first_mask_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True)
class Inferred:
    """What the model answered: what a resumed run does not compute again.

    Attributes:
        finished: The answer; None: it refused the command.
        refusal: Why it refused.
        frame_known: See BagAnswer, as the next two.
        first_mask_ms: See BagAnswer.
        total_ms: See BagAnswer.
    """

    finished: Finished | None
    refusal: str = ""
    frame_known: bool = False
    first_mask_ms: float = 0.0
    total_ms: float = 0.0


@dataclass
class Answerer:
    """Answers commands in the order of their times.

    Attributes:
        segmenter: The model.
        bag: The bag.
        settings: Settings.
        dialogues: Those of all operators, with the node's limits.
    """

    segmenter: Segmenter
    bag: Bag
    settings: AnswerSettings
    dialogues: Dialogues = field(default_factory=Dialogues)
    _encoded: tuple[Rgb, EncodedImage] | None = None

    def answer(
        self, command: BagCommand, frame: BagFrame | None, earlier: Inferred | None = None
    ) -> tuple[BagAnswer, Inferred | None]:
        """Answer one command.

        Args:
            command: The command.
            frame: Its frame; None: there was no image yet.
            earlier: What the model answered in a run that was interrupted; None: it is asked now.

        Returns:
            The answer, and what the model answered; None: it was not asked.
        """
        time_ns = command.time_ns(self.bag.start_ns)
        try:
            image = self._image(frame, time_ns)
            inferred = earlier or self._infer(command, image)
        except ImageError as error:
            return BagAnswer(command, time_ns, "NO_IMAGE", str(error), frame), None
        if inferred.finished is None:
            return BagAnswer(command, time_ns, "REJECTED", inferred.refusal, frame, image), inferred
        assert frame is not None
        return self._answered(command, frame, image, inferred, inferred.finished), inferred

    def _image(self, frame: BagFrame | None, time_ns: int) -> Rgb:
        if frame is None:
            raise ImageError("No image was recorded before the command.")
        age_s, oldest_s = (time_ns - frame.image.time_ns) / 1e9, self.settings.max_image_age_s
        if 0 < oldest_s < age_s:
            raise ImageError(f"The newest image is {age_s:.1f} s older than the command; {oldest_s:g} s are allowed.")
        return rgb_from(self.message(frame.image))

    def message(self, stored: Stored) -> Any:
        """A message of the bag."""
        return deserialize(stored.data, self.bag.types[stored.topic])

    def _infer(self, command: BagCommand, image: Rgb) -> Inferred:
        began = time.perf_counter()
        known = self._encode(image)
        assert self._encoded is not None
        session = self.segmenter.session(self._encoded[1], self.dialogues.turns(command.operator))
        first_mask_ms, finished = 0.0, None
        try:
            events = session.segment(command.text, max_new_tokens=self.settings.max_new_tokens)
            for event in checked_events(events, image.shape[:2]):
                if isinstance(event, MaskFound) and not first_mask_ms:
                    first_mask_ms = 1000 * (time.perf_counter() - began)
                finished = event if isinstance(event, Finished) else finished
        except CommandError as error:
            return Inferred(None, str(error))
        assert finished is not None  # see checked_events
        return Inferred(finished, "", known, first_mask_ms, 1000 * (time.perf_counter() - began))

    def _encode(self, image: Rgb) -> bool:
        """Encode the image unless it shows the scene that is encoded; returns whether it does."""
        if self._encoded and same_scene(self._encoded[0], image, self.settings.same_frame_difference):
            return True
        self._encoded = (image, self.segmenter.encode(image))
        return False

    def _answered(
        self, command: BagCommand, frame: BagFrame, image: Rgb, inferred: Inferred, finished: Finished
    ) -> BagAnswer:
        turn = turn_of(command.text, finished)
        number = self.dialogues.append(command.operator, turn)
        positions = _Positions(self, frame, image)
        objects = positions.separated(found_objects(finished.objects, 0.0), image)
        locations = tuple(positions.of(image, one.mask) for one in objects)
        return BagAnswer(
            command,
            command.time_ns(self.bag.start_ns),
            "OK" if objects else "NO_OBJECT",
            answer_detail(finished, 0.0),
            frame,
            image,
            turn_of(command.text, finished, number),
            finished.model or self.segmenter.name,
            objects,
            locations,
            tuple(self._grip(one) for one in locations),
            inferred.frame_known,
            inferred.first_mask_ms,
            inferred.total_ms,
        )

    def _grip(self, location: Located | NotLocated) -> Grip | NoGrip | None:
        wanted = self.settings
        return grip_of(location, wanted.grip, wanted.gripper) if isinstance(location, Located) else None


class _Positions:
    """Depth and intrinsics of one frame."""

    def __init__(self, answerer: Answerer, frame: BagFrame, image: Rgb) -> None:
        self._depth_m: NDArray[np.float32] | None = None
        self._camera: CameraModel | None = None
        self._trouble: NotLocated | None = None
        try:
            if frame.camera_info:
                info, size = answerer.message(frame.camera_info), (image.shape[1], image.shape[0])
                self._camera = camera_from(info, answerer.settings.image_rectified, size)
        except LisaError as error:
            self._trouble = NotLocated(NotLocatedReason.NO_CAMERA, f"The camera_info cannot be used: {error}.")
        try:
            if frame.depth:
                depth = answerer.message(frame.depth)
                check_frame_id(answerer.message(frame.image).header.frame_id, depth.header.frame_id)
                self._depth_m = depth_from(depth)
        except OtherFrameError as error:
            self._trouble = NotLocated(NotLocatedReason.NOT_REGISTERED, str(error))
        except ImageError as error:
            self._trouble = NotLocated(NotLocatedReason.NO_DEPTH, str(error))

    def separated(self, objects: tuple[ObjectMask, ...], image: Rgb) -> tuple[ObjectMask, ...]:
        """One object for each separate one, if the only mask covers several, as the node's split_objects."""
        if len(objects) != 1:
            return objects
        size = (image.shape[1], image.shape[0])
        depth_m = None if self._depth_m is None else depth_on_grid(self._depth_m, size)
        if depth_m is not None and depth_m.shape != image.shape[:2]:
            depth_m = None
        parts = separate_objects(objects[0].mask, depth_m)
        return objects if len(parts) == 1 else tuple(replace(objects[0], mask=part, box=None) for part in parts)

    def of(self, image: Rgb, mask: Mask) -> Located | NotLocated:
        """An object's position, or the reason why there is none."""
        return self._trouble or locate(image, mask, self._depth_m, self._camera)
