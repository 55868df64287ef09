# SPDX-License-Identifier: Apache-2.0
"""Whether a depth image is registered to its image, by their frame_ids."""


class OtherFrameError(ValueError):
    """The depth image is in another coordinate frame than the image."""


def check_frame_id(of_image: str, of_depth: str) -> None:
    """Compare the frame_ids of an image and its depth image; an empty one fits any.

    Raises:
        OtherFrameError: They differ; the text says what to switch on.
    """
    if of_image and of_depth and of_image != of_depth:
        raise OtherFrameError(
            f"The depth image has frame_id {of_depth!r} and the image has {of_image!r}: depth must be registered to the"
            " image and have its frame_id. Switch that on in the camera's driver (RealSense: align_depth.enable:=true;"
            " Orbbec: depth_registration:=true), or run depth_image_proc's register node and use its topic"
            " depth_registered/image_rect as `depth`."
        )
