# SPDX-License-Identifier: Apache-2.0
"""lisa_node with the embedded LISA and a toy SAM 3: who answers what, and an object that is lost and found again."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from node_probe import pixels, probing
from numpy.typing import NDArray
from paths import DATA
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import started, wait_until
from std_msgs.msg import Header
from toy_checkpoints import sam2_checkpoint, sam3_checkpoint

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.msg import Segmentation, TrackedObject
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.loading import load_from_parameters
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.masks import intersection_over_union

pytestmark = pytest.mark.model
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND = "the white ball on the table"
"""More than a name, so that LISA answers."""


def table() -> NDArray[np.uint8]:
    """A rendered table with a ball, RGB (480, 640, 3)."""
    return cv2.cvtColor(cv2.imread(str(DATA / "upstream_lisa" / "01.png")), cv2.COLOR_BGR2RGB)


def ball_in(image: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """The embedded model's mask of the ball."""
    segmenter = load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu", threads=1))
    *_, finished = segmenter.session(segmenter.encode(image)).segment(COMMAND)
    return finished.objects[0].mask if finished.objects else None


def test_the_parameters_refine_and_its_checkpoint_reach_the_loader(tmp_path: Path) -> None:
    folder = sam2_checkpoint(tmp_path / "small_sam2")
    parameters = NodeParameters(refine="sam2", refine_checkpoint=str(folder), device="cpu", threads=1)
    assert load_from_parameters(parameters).name.endswith("masks refined by small_sam2")
    with pytest.raises(LisaError, match="no_such_folder"):
        load_from_parameters(replace(parameters, segmenter="auto", names_checkpoint="/no_such_folder"))


def test_names_go_to_sam_3_and_a_lost_object_is_found_again_by_lisa(tmp_path: Path) -> None:
    image = table()
    mask = ball_in(image)
    assert mask is not None
    without = cv2.inpaint(image, cv2.dilate(mask.astype(np.uint8), np.ones((21, 21))), 5, cv2.INPAINT_TELEA)
    elsewhere = np.ascontiguousarray(image[:, ::-1])
    expected = ball_in(elsewhere)
    assert ball_in(without) is None and expected is not None and intersection_over_union(expected, mask) < 0.1
    values = {
        "segmenter": "auto",
        "names_checkpoint": sam3_checkpoint(tmp_path / "sam3"),
        "split_objects": "never",
        "dialogue_file": "",
        "device": "cpu",
    }
    parameters = [part for name, value in values.items() for part in ("-p", f"{name}:='{value}'")]
    more = ["-p", "use_depth:=false", "-p", "threads:=1", "-p", "track_again_after:=0.3", "-r", "__node:=both"]
    command = [sys.executable, "-m", "lisa_ros.nodes.lisa.node", "--ros-args", *parameters, *more]
    received: list[TrackedObject] = []
    with probing("both") as probe, started(command) as process:
        probe.wait_for_node(process)
        named = probe.ask_about(to_image_message(image, "rgb8", Header()), "every ball")
        assert named.model.startswith("sam3, "), named.model
        answer = probe.ask(COMMAND, "ben")
        assert answer.status == Segmentation.OK and answer.model.startswith("tabletop ("), answer.model
        assert intersection_over_union(pixels(answer.objects[0].mask), mask) > 0.5
        probe.node.create_subscription(TrackedObject, "/both/tracked/object", received.append, LATCHED)

        def shown(view: NDArray[np.uint8], state: int) -> Any:
            """The first message of this state after this view is shown."""
            count = len(received)

            def found() -> Any:
                probe.show(to_image_message(view, "rgb8", Header(stamp=probe.stamp_now(), frame_id="camera_optical")))
                return next((one for one in received[count:] if one.state == state), None)

            return wait_until(found, f"the state {state}", 60)

        shown(image, TrackedObject.TRACKED)
        lost = shown(without, TrackedObject.LOST)
        assert lost.detail.startswith("The object is lost: ") and lost.id == answer.id
        again = shown(elsewhere, TrackedObject.TRACKED)
        assert again.id == answer.id
        assert (again.found.sec, again.found.nanosec) > (lost.found.sec, lost.found.nanosec)
        assert intersection_over_union(pixels(again.object.mask), expected) > 0.5
