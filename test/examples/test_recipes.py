# SPDX-License-Identifier: Apache-2.0
"""The recipes for planners in examples/: read by the readers that planners use."""

import configparser
import importlib.util
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from node_probe import probing
from paths import ROOT
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_dict_from_yaml_file
from ros_harness import scripted_node, started, wait_until

from lisa_ros.client import FoundObject, ObjectGrip, Result, Status
from lisa_ros.msg import Command

EXAMPLES = ROOT / "examples"


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name.split(".")[0], EXAMPLES / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.ros
def test_nav2s_file_is_read_by_rclpy_and_its_topics_are_the_nodes() -> None:
    file = EXAMPLES / "nav2_params.yaml"
    layer = parameter_dict_from_yaml_file(str(file), target_nodes=["/local_costmap/local_costmap"])
    topics = {
        name: value.value.string_value
        for name, value in layer.items()
        if name.startswith("semantic_segmentation_layer.lisa.") and name.endswith("_topic")
    }
    assert layer["semantic_segmentation_layer.lisa.avoided.classes"].value.string_array_value == ["target"]
    with probing() as probe, started(scripted_node("--params-file", str(file))) as process:
        probe.wait_for_node(process)
        # ~/label_info is published where vision_msgs is installed.
        for name, topic in topics.items():
            if "labels" not in name:
                wait_until(lambda topic=topic: probe.node.count_publishers(topic), topic)
        client = probe.node.create_client(GetParameters, "/lisa/get_parameters")
        wait_until(client.service_is_ready, "the parameters")
        asked = client.call_async(GetParameters.Request(names=["points_organised", "no_object_is"]))
        wait_until(asked.done, "the values")
        organised, no_object_is = asked.result().values
        assert organised.bool_value and no_object_is.string_value == "abort"
    assert len(topics) == 4


def test_the_behaviour_trees_ports_are_fields_of_a_command() -> None:
    root = ElementTree.parse(EXAMPLES / "find_and_follow.xml").getroot()
    assert root.get("BTCPP_format") == "4"
    action = root.find(".//SegmentObject")
    ports = {port.get("name") for port in root.findall(".//Action[@ID='SegmentObject']/input_port")}
    assert action is not None and set(action.keys()) == ports
    fields = Command.get_fields_and_field_types()
    assert ports - {"server_name"} <= set(fields)
    assert int(str(action.get("outputs"))) == Command.OUTPUT_NO_MASKS
    follow = root.find(".//FollowObject")
    assert follow is not None and follow.get("pose_topic") == "/lisa/tracked/pose"


def test_the_launch_file_gives_the_node_to_a_lifecycle_manager() -> None:
    pytest.importorskip("launch_ros")
    entities = loaded("managed_lisa.launch.py").generate_launch_description().entities
    assert [entity.node_executable for entity in entities] == ["lisa_node", "lifecycle_manager"]


def test_the_unit_starts_the_launch_file_and_waits_long_enough_for_its_end() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(EXAMPLES / "lisa_ros.service")
    assert "ros2 launch lisa_ros lisa.launch.py" in unit["Service"]["ExecStart"]
    assert "%h" not in unit["Service"]["ExecStart"], "systemd replaces it by root's home, whatever User says"
    assert int(unit["Service"]["TimeoutStopSec"]) > 10


def test_the_pick_approaches_along_the_grip_and_ends_with_the_reason() -> None:
    recipe = loaded("moveit_pick.py")
    grip = ObjectGrip("antipodal", (0.5, 0.1, 0.2), (1.0, 0.0, 0.0, 0.0), 0.05)
    found = FoundObject(None, (1.0, 1.0), (0, 0, 2, 2), name="mug", grip=grip)
    before, at = recipe.poses(recipe.grip_of(Result(Status.OK, objects=(found,))), "base_link")
    assert at.header.frame_id == "base_link" and (at.pose.position.x, at.pose.position.z) == (0.5, 0.2)
    assert np.isclose(before.pose.position.z, 0.3) and before.pose.orientation == at.pose.orientation
    with pytest.raises(SystemExit, match="NO_OBJECT: nothing"):
        recipe.grip_of(Result(Status.NO_OBJECT, "nothing"))
    refused = FoundObject(None, (1.0, 1.0), (0, 0, 2, 2), name="mug", no_grip="Too wide.")
    with pytest.raises(SystemExit, match="mug cannot be gripped: Too wide"):
        recipe.grip_of(Result(Status.OK, objects=(refused,)))
