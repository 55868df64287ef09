# SPDX-License-Identifier: Apache-2.0
"""The 3-D positions and grips of an answer's objects, in the frame that the command asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from std_msgs.msg import Header

from lisa_ros.nodes.common.conversions import RgbImage
from lisa_ros.nodes.lisa.answers.locating import Location, Locator
from lisa_ros.nodes.lisa.answers.transforms import NoTransformError, Transforms
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Options
from lisa_ros.segmentation.answers import Mask
from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.grips.gripping import grip_of
from lisa_ros.spatial.locating import Located, NotLocated, NotLocatedReason


@dataclass(frozen=True)
class Positions:
    """The objects of one answer in metres.

    Attributes:
        header: Stamp of the image, and the frame of the positions.
        locations: One for each object.
        grips: One for each object; None: it is not located, or no grip is wanted.
    """

    header: Header
    locations: Sequence[Location] = ()
    grips: Sequence[Grip | NoGrip | None] = ()


class Positioner:
    """Computes positions. Thread-safe."""

    def __init__(self, parameters: LiveParameters, transforms: Transforms) -> None:
        """Start without a camera model.

        Args:
            parameters: The node's parameters.
            transforms: To the planners' frames.
        """
        self._parameters, self._transforms = parameters, transforms
        self.locator = Locator(lambda: parameters.current.image_rectified)

    def positions(
        self, options: Options, frame: CameraFrame | None, image: RgbImage, masks: Sequence[Mask], header: Header
    ) -> Positions:
        """The positions of masks. Missing depth and a missing transform are no errors.

        Args:
            options: Of the command.
            frame: Has the depth image and the intrinsics; None: there are none.
            image: The frame's image, RGB (H, W, 3).
            masks: Of the objects, (H, W).
            header: Of the image.
        """
        parameters = self._parameters.current
        locations = [self.locator.locate(frame, image, mask) for mask in masks]
        strategy = options.grip or parameters.grip
        gripper = Gripper(
            parameters.gripper_opening, parameters.gripper_clearance, parameters.gripper_reach, above_m=0.1
        )
        grips = [grip_of(one, strategy, gripper) if isinstance(one, Located) else None for one in locations]
        target = options.target_frame or parameters.target_frame
        if not target or target == header.frame_id:
            return Positions(header, locations, grips)
        return self._moved(Positions(Header(stamp=header.stamp, frame_id=target), locations, grips), header)

    def _moved(self, here: Positions, header: Header) -> Positions:
        """The positions in the frame of their header, from the camera's."""
        if not any(isinstance(one, Located) for one in here.locations):
            return here
        timeout_s = self._parameters.current.transform_timeout
        try:
            matrix = self._transforms.matrix(here.header.frame_id, header.frame_id, header.stamp, timeout_s)
        except NoTransformError as error:
            unknown = NotLocated(NotLocatedReason.NO_TRANSFORM, str(error))
            locations = [unknown if isinstance(one, Located) else one for one in here.locations]
            return Positions(here.header, locations, [None] * len(locations))
        return Positions(
            here.header,
            [one.in_frame(matrix) if isinstance(one, Located) else one for one in here.locations],
            [one.in_frame(matrix) if isinstance(one, Grip) else one for one in here.grips],
        )
