# SPDX-License-Identifier: Apache-2.0
"""From what was heard of a ROS 2 system to sentences that say what is wrong and what would be right."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lisa_ros.nodes.doctor.probe import SystemFacts, TopicFacts
from lisa_ros.segmentation.text import quoted

SHARED_MEMORY_BYTES = 512_000
"""Largest message that Fast DDS's default shared memory holds."""

SYNC_TOLERANCE_S = 0.02
"""The default of the parameter sync_tolerance, seconds."""

MAX_IMAGE_AGE_S = 5.0
"""The default of the parameter max_image_age, seconds."""

DAY_S = 86_400.0


def advise(facts: SystemFacts) -> list[str]:
    """What keeps the node from answering, or from giving 3-D positions; empty: nothing was found."""
    return [*_about_node(facts), *_about_image(facts), *_about_depth(facts)]


def _about_node(facts: SystemFacts) -> Iterator[str]:
    if not facts.node_is_there:
        yield f"There is no node {facts.node}; start it, or name another with --node."
    elif facts.diagnostics.get("level", 0) != 0:
        yield f"{facts.node} reports: {facts.diagnostics['message']}"


def _about_image(facts: SystemFacts) -> Iterator[str]:
    image = facts.image
    if not image.publishers:
        yield f"Nobody publishes {image.name}; start the camera, or name its topic with --image."
        return
    if not image.messages:
        yield f"{image.name} has a publisher, but no message arrived in {facts.seconds:g} s. {_lost(facts, image)}"
        return
    too_large = image.message_bytes > SHARED_MEMORY_BYTES and "fastrtps" in facts.rmw and not facts.profiles
    if too_large and not _node_gets_all(facts):
        yield (
            f"{image.name} has {image.message_bytes / 1e6:.1f} MB an image, more than Fast DDS's default shared memory "
            "holds: images can be lost. Set FASTRTPS_DEFAULT_PROFILES_FILE to config/fastdds.xml for the camera and "
            "the node (the launch files do), or publish compressed images."
        )
    if not _image_is_new_to_node(facts):
        yield from _about_clock(image)


def _image_is_new_to_node(facts: SystemFacts) -> bool:
    """Whether the node reports a new image: its clock, maybe a simulated one, is that of the images."""
    values = facts.diagnostics.get("values", {}) if facts.node_is_there else {}
    return abs(float(values.get("image age (s)", math.nan))) <= MAX_IMAGE_AGE_S


def _node_gets_all(facts: SystemFacts) -> bool:
    """Whether the node says that images arrive and none was lost: it has a profile that this terminal has not."""
    values = facts.diagnostics.get("values", {}) if facts.node_is_there else {}
    return values.get("lost images") == "0" and float(values.get("image rate (Hz)", 0.0)) > 0.0


def _lost(facts: SystemFacts, image: TopicFacts) -> str:
    if not any(kind in image.types for kind in ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")):
        return f"Its type is {', '.join(image.types)}; it must be sensor_msgs/Image or CompressedImage."
    if "fastrtps" in facts.rmw and not facts.profiles:
        return "Large images are lost on Fast DDS's defaults: set FASTRTPS_DEFAULT_PROFILES_FILE to config/fastdds.xml."
    return "Check the camera, and that ROS_DOMAIN_ID is the same in both terminals."


def _about_clock(image: TopicFacts) -> Iterator[str]:
    if image.age_s is None or abs(image.age_s) <= MAX_IMAGE_AGE_S:
        return
    if not any(image.stamps_ns):
        return  # without a stamp, an image counts from its arrival
    if abs(image.age_s) > DAY_S:
        yield (
            f"The stamps of {image.name} are of another clock than this machine's: start the node with "
            "use_sim_time:=true where a simulator or a bag publishes /clock."
        )
    elif image.age_s < 0.0:
        yield (
            f"Images on {image.name} are stamped {-image.age_s:.1f} s in the future. Synchronise the clocks of the two "
            "machines."
        )
    else:
        yield (
            f"Images on {image.name} are {image.age_s:.1f} s old when they arrive; with max_image_age at "
            f"{MAX_IMAGE_AGE_S:g} s the node refuses them. Synchronise the clocks of the two machines."
        )


def _about_depth(facts: SystemFacts) -> Iterator[str]:
    image, depth, info = facts.image, facts.depth, facts.camera_info
    if not depth.publishers:
        yield f"Nobody publishes {depth.name}: answers have no 3-D position. --depth names another topic."
        return
    if not info.messages:
        yield f"No camera_info arrived on {info.name}: answers have no 3-D position."
    if not depth.messages:
        yield f"{depth.name} has a publisher, but no message arrived in {facts.seconds:g} s."
        return
    if image.messages:
        yield from _about_registration(facts)


def _about_registration(facts: SystemFacts) -> Iterator[str]:
    """Whether depth has the frame, the aspect and the stamps of the image."""
    image, depth = facts.image, facts.depth
    if depth.frame_id and image.frame_id and depth.frame_id != image.frame_id:
        yield (
            f"{depth.name} is in frame {quoted(depth.frame_id)}, the image in {quoted(image.frame_id)}: depth must be "
            "registered to the image. Use the driver's option (RealSense: align_depth.enable:=true), or "
            "depth_image_proc's register node."
        )
    if image.width and depth.width * image.height != image.width * depth.height:
        yield (
            f"{depth.name} is {depth.width}x{depth.height}, the image {image.width}x{image.height} pixels: another"
            " aspect, so depth is not registered to the image."
        )
    if facts.depth_offset_s is not None and facts.depth_offset_s > SYNC_TOLERANCE_S:
        yield (
            f"Depth images are {1000 * facts.depth_offset_s:.0f} ms from the nearest image, and sync_tolerance is "
            f"{1000 * SYNC_TOLERANCE_S:.0f} ms by default: set sync_tolerance:={1.5 * facts.depth_offset_s:.3f}, or "
            "synchronise the camera's streams."
        )
