# SPDX-License-Identifier: Apache-2.0
"""What `lisa bag --foxglove` writes, read by a reader that knows only the file, and the layout for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from paths import CONFIG
from recorded_bags import DEPTH, IMAGE, INFO, table, write_bag
from rosbags.highlevel import AnyReader
from scripted_segmenter import ScriptedSegmenter, pixels_of

from lisa_ros.bags.commands import BagCommand
from lisa_ros.bags.frames import Topics
from lisa_ros.bags.run import BagJob, run_bag

SHOWN_BY = {
    "Image": {"sensor_msgs/msg/Image"},
    "annotations": {"foxglove_msgs/msg/ImageAnnotations"},
    "calibration": {"sensor_msgs/msg/CameraInfo"},
    "3D": {
        "sensor_msgs/msg/PointCloud2",
        "geometry_msgs/msg/PoseStamped",
        "geometry_msgs/msg/PointStamped",
        "visualization_msgs/msg/MarkerArray",
        "foxglove_msgs/msg/SceneUpdate",
    },
}
"""The types that Foxglove's panels show, by its documentation."""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foxglove")
    source = write_bag(folder / "in")
    commands = (BagCommand(0.55, "ann", "two"), BagCommand(1.25, "ann", "nothing"))
    job = BagJob(source, folder / "out", Topics(IMAGE, DEPTH, INFO), commands, foxglove=True)
    run_bag(job, ScriptedSegmenter, lambda _: None)
    return folder / "out"


def messages(bag: Path, topic: str) -> list[Any]:
    with AnyReader([bag]) as reader:
        return [
            reader.deserialize(data, one.msgtype) for one, _, data in reader.messages() if one.topic == f"/lisa/{topic}"
        ]


def test_annotations_outline_the_objects_on_the_image(bag: Path) -> None:
    two, nothing = messages(bag, "annotations")
    answer = messages(bag, "segmentation")[0]
    assert [one.text for one in two.texts] == [f"{'①②'[i]} {one.name}" for i, one in enumerate(answer.objects)]
    corners = np.array([(one.x, one.y) for one in two.points[0].points])
    rows, columns = np.nonzero(pixels_of(table(), "red"))
    assert corners.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert corners.max(axis=0).tolist() == [columns.max(), rows.max()]
    assert two.points[0].type == 2 and vars(two.timestamp) == vars(answer.header.stamp)  # LINE_LOOP
    assert (two.circles[0].position.x, two.circles[0].position.y) == (
        answer.objects[0].centroid_pixel.x,
        answer.objects[0].centroid_pixel.y,
    )
    # An answer without objects removes the drawings of the one before.
    assert nothing.points == nothing.texts == nothing.circles == []


def test_the_scene_has_boxes_and_grips_of_the_newest_answer_alone(bag: Path) -> None:
    two, nothing = messages(bag, "scene")
    answer = messages(bag, "segmentation")[0]
    assert [one.type for one in two.deletions] == [1] and [one.type for one in nothing.deletions] == [1]  # ALL
    assert nothing.entities == [] and len(two.entities) == sum(one.located for one in answer.objects)
    entity, found = two.entities[0], answer.objects[0]
    assert entity.frame_id == answer.header.frame_id
    assert vars(entity.cubes[0].pose.position) == vars(found.box_centre)
    assert entity.cubes[0].size.x == pytest.approx(found.box_size.x)
    # The same box, ball and label as the markers for RViz.
    _, box, ball, label, *_ = messages(bag, "markers")[0].markers
    assert (box.ns, ball.ns, label.ns) == ("box", "centroid", "label")
    for drawn, marker in ((entity.cubes[0], box), (entity.spheres[0], ball)):
        assert vars(drawn.size) == vars(marker.scale) and vars(drawn.pose.position) == vars(marker.pose.position)
    assert entity.texts[0].font_size == label.scale.z
    assert vars(entity.texts[0].pose.position) == vars(label.pose.position)
    # Along its x axis, the arrow ends at the grip and has the grip's approach direction.
    arrow, grip = entity.arrows[0], found.grip.pose
    length = arrow.shaft_length + arrow.head_length
    end = position(arrow.pose) + length * axis(arrow.pose.orientation, 0)
    assert end == pytest.approx(position(grip), abs=1e-6)
    assert axis(arrow.pose.orientation, 0) == pytest.approx(axis(grip.orientation, 2), abs=1e-6)


def position(pose: Any) -> np.ndarray[Any, Any]:
    return np.array([pose.position.x, pose.position.y, pose.position.z])


def axis(q: Any, column: int) -> np.ndarray[Any, Any]:
    x, y, z, w = q.x, q.y, q.z, q.w
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows)[:, column]


def test_without_the_option_there_are_none_of_foxgloves_messages(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", images=8)
    job = BagJob(source, tmp_path / "out", Topics(IMAGE, DEPTH, INFO), (BagCommand(0.55, "ann", "two"),))
    run_bag(job, ScriptedSegmenter, lambda _: None)
    assert messages(tmp_path / "out", "annotations") == messages(tmp_path / "out", "scene") == []
    assert len(messages(tmp_path / "out", "instances")) == len(messages(tmp_path / "out", "detections")) == 1


def test_each_topic_of_the_layout_is_in_the_bag_with_a_type_that_its_panel_shows(bag: Path) -> None:
    (file,) = bag.glob("*.mcap")
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
        assert summary is not None
        types = {c.topic: summary.schemas[c.schema_id].name for c in summary.channels.values()}
        schemas = {one.name: one.data.decode() for one in summary.schemas.values()}
    layout = json.loads((CONFIG / "foxglove.json").read_text())
    panels = layout["configById"]
    assert panels_of(layout["layout"]) == set(panels)
    image = panels["Image!annotations"]["imageMode"]
    assert types[image["imageTopic"]] in SHOWN_BY["Image"]
    assert types[image["calibrationTopic"]] in SHOWN_BY["calibration"]
    assert {types[topic] for topic in image["annotations"]} == SHOWN_BY["annotations"]
    assert {types[topic] for topic in panels["3D!lisa"]["topics"]} <= SHOWN_BY["3D"]
    paths = [one["value"] for one in panels["Plot!time"]["paths"]] + [panels["RawMessages!segmentation"]["topicPath"]]
    assert all(path.partition(".")[0] in types for path in paths)
    for path in paths:
        field = path.partition(".")[2]
        assert not field or f" {field}" in schemas[types[path.partition(".")[0]]]


def panels_of(node: Any) -> set[str]:
    """The panels of a layout: a tree of splits."""
    return {node} if isinstance(node, str) else panels_of(node["first"]) | panels_of(node["second"])
