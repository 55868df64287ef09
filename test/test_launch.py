# SPDX-License-Identifier: Apache-2.0
"""The launch file: its shape always, a real start where `launch` and `launch_ros` are installed (not on PyPI)."""

import ast
import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest
from ros_harness import started, wait_until

from lisa_ros.nodes.parameters import NodeParameters

ROOT = Path(__file__).parent.parent
LAUNCH_FILE = ROOT / "launch" / "lisa.launch.py"
ARGUMENTS = {"namespace", "image", "params_file", "checkpoint", "quantization", "device", "image_transport"}

missing = [name for name in ("launch", "launch_ros") if importlib.util.find_spec(name) is None]
needs_launch = pytest.mark.skipif(bool(missing), reason=f"not installed here: {', '.join(missing)}")


def table_of_parameters() -> dict[str, str]:
    for node in ast.parse(LAUNCH_FILE.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS":
            return ast.literal_eval(node.value)
    raise AssertionError("lisa.launch.py has no PARAMETERS")


def test_arguments_are_the_documented_ones() -> None:
    calls = [node for node in ast.walk(ast.parse(LAUNCH_FILE.read_text())) if isinstance(node, ast.Call)]
    declared = {
        call.args[0].value
        for call in calls
        if ast.unparse(call.func) == "DeclareLaunchArgument" and isinstance(call.args[0], ast.Constant)
    }
    assert declared | set(table_of_parameters()) == ARGUMENTS


def test_arguments_that_are_parameters_exist_in_the_node() -> None:
    assert set(table_of_parameters()) <= {entry.name for entry in dataclasses.fields(NodeParameters)}


def test_the_parameter_file_and_the_program_exist() -> None:
    assert (ROOT / "config" / "lisa.yaml").is_file()
    assert (ROOT / "scripts" / "lisa_node").is_file()


@needs_launch
@pytest.mark.parametrize("checkpoint", ["/no/such/folder", "0123"])  # the second is a text too
def test_launch_starts_the_node_with_what_was_given(checkpoint: str) -> None:
    code = (
        "import sys; from launch import LaunchService; from launch.launch_description_sources import *;"
        "from launch.actions import IncludeLaunchDescription as Include;"
        "service = LaunchService();"
        f"source = PythonLaunchDescriptionSource({str(LAUNCH_FILE)!r});"
        f"given = {{'namespace': 'left', 'image': '/camera/colour', 'checkpoint': {checkpoint!r}, 'device': 'cpu'}};"
        "service.include_launch_description(Include(source, launch_arguments=given.items()));"
        "sys.exit(service.run())"
    )
    with started([sys.executable, "-c", code]) as process:
        wait_until(
            lambda: (
                f"Could not load the checkpoint {checkpoint}:" in process.output and "exit code 1" in process.output
            ),
            "the node's refusal",
        )
        assert "left.lisa" in process.output


@needs_launch
def test_launch_refuses_nothing_it_documents() -> None:
    spec = importlib.util.spec_from_file_location("lisa_launch", LAUNCH_FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from launch.actions import DeclareLaunchArgument

    entities = module.generate_launch_description().entities
    assert {entity.name for entity in entities if isinstance(entity, DeclareLaunchArgument)} == ARGUMENTS
