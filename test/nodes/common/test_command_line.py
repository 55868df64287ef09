# SPDX-License-Identifier: Apache-2.0
"""A node's command line: what is refused, what is warned of."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from ros_harness import private_environment, scripted_node, started, wait_until

from lisa_ros.nodes.common.command_line import (
    check_arguments,
    check_overrides,
    check_qos,
    files_without_effect,
    misspelt_remappings,
    wants_help,
)
from lisa_ros.nodes.common.starting import StartError

RELIABILITY = "qos_overrides./image.subscription.reliability"
DECLARED = ("checkpoint", "quantization", "use_depth", "use_sim_time")


@pytest.mark.parametrize(
    ("left", "named"),
    [(["--chekpoint", "/x"], "checkpoint:=VALUE"), (["checkpoint:=/x"], "checkpoint:=VALUE"), (["zzz"], "NAME:=VALUE")],
)
def test_arguments_that_nobody_reads_are_refused(left: list[str], named: str) -> None:
    with pytest.raises(StartError, match=named):
        check_arguments(["lisa_node", *left, "--ros-args", "-p", "use_depth:=true"], DECLARED)
    check_arguments(["lisa_node", "--ros-args", "-p", "use_depth:=true"], DECLARED)


def test_help_is_recognised_only_outside_of_ros_arguments() -> None:
    assert wants_help(["lisa_node", "--help"])
    assert not wants_help(["lisa_node", "--ros-args", "-p", "text:=--help"])


def test_a_misspelt_parameter_is_refused_with_the_right_name() -> None:
    with pytest.raises(StartError, match=r"no parameter 'chekpoint'; is 'checkpoint' meant"):
        check_overrides(["use_depth", "chekpoint"], DECLARED)


def test_parameters_of_other_nodes_are_only_named() -> None:
    given = ["use_depth", "robot_description", "qos_overrides./image.subscription.depth"]
    assert check_overrides(given, DECLARED) == ["robot_description"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("/image.subscription.reliability", "maybe", "'maybe'; it must be one of .*reliable, best_effort"),
        ("/image.subscription.reliabilty", "reliable", "reliability, and the last part history, reliability, depth"),
        ("/image.reliability", "reliable", "sets no QoS"),
        ("/image.subscription.depth", "five", "'five'; it must be a whole number"),
        ("/image.subscription.depth", True, "True; it must be a whole number"),
    ],
)
def test_wrong_qos_is_refused_with_what_would_be_right(name: str, value: object, said: str) -> None:
    with pytest.raises(StartError, match=said):
        check_qos({f"qos_overrides.{name}": value})


def test_right_qos_and_that_of_other_nodes_is_accepted() -> None:
    image = "qos_overrides./image.subscription"
    check_qos(
        {f"{image}.reliability": "RELIABLE", f"{image}.depth": 5, f"{image}.durability": "volatile", "depth": "x"}
    )
    check_qos({"qos_overrides./front/image.publisher_left.history": "keep_last"})


def test_a_misspelt_topic_of_a_remapping_is_named() -> None:
    args = ["lisa_node", "--ros-args", "-r", "imgae:=/cam/image", "-r", "depth:=/cam/depth", "--remap", "__ns:=/front"]
    other = ["-r", "odom:=/odometry", "-r", "lisa:/camerainfo:=/cam/camera_info", "-r", "~/command:=/command"]
    first, second = misspelt_remappings([*args, *other], ("image", "depth", "camera_info"))
    assert "imgae:=/cam/image has no effect: this node has no topic 'imgae'; is 'image' meant?" in first
    assert "'camerainfo'; is 'camera_info' meant?" in second


def test_remappings_of_names_with_a_namespace_are_not_called_misspelt() -> None:
    """That of the node, or of another node of the group in a launch file."""
    args = ["lisa_node", "--ros-args", "-r", "/r1/image:=/cam/image", "-r", "depth/camera_info:=/cam/camera_info"]
    assert misspelt_remappings(args, ("image", "camera_info")) == []


@pytest.mark.parametrize(
    ("section", "node", "has_effect"),
    [
        ("/**", "/lisa", True),
        ("/**", "/a/b/lisa", True),
        ("/**/lisa", "/a/b/lisa", True),
        ("/**/lisa", "/lisa", True),
        ("/*/lisa", "/front/lisa", True),
        ("/*/lisa", "/lisa", False),
        ("lisa", "/lisa", True),
        ("/front/lisa", "/front/lisa", True),
        ("/front/lisa", "/wrist/lisa", False),
        ("other_node", "/lisa", False),
    ],
)
def test_parameter_files_of_other_nodes_are_found(tmp_path: Path, section: str, node: str, has_effect: bool) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"{section}:\n  ros__parameters:\n    use_depth: true\n")
    args = ["lisa_node", "--ros-args", "--params-file", str(file)]
    assert files_without_effect(args, node) == ([] if has_effect else [str(file)])


def test_namespaces_as_sections_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("front:\n  lisa:\n    ros__parameters:\n      use_depth: true\nempty:\n  ros__parameters: {}\n")
    args = ["lisa_node", "--ros-args", "--params-file", str(file)]
    assert files_without_effect(args, "/front/lisa") == []
    assert files_without_effect(args, "/empty") == [str(file)]


@pytest.mark.parametrize(
    ("module", "arguments", "code", "said"),
    [
        ("lisa.node", ["--help"], 0, "usage: ros2 run lisa_ros lisa_node"),
        ("speech.starting", ["--help"], 0, "wake_phrase: Phrase that commands begin with"),
        ("console.node", ["--help"], 0, "max_pages: Pages that may be open"),
        ("lisa.node", ["--chekpoint", "/x"], 1, "no argument '--chekpoint /x'"),
        ("lisa.node", ["--ros-args", "-p", f"{RELIABILITY}:=maybe"], 1, "it must be one of system_default, reliable"),
        ("lisa.node", ["--ros-args", "-p", "checkpoint:="], 1, "NAME:=VALUE, an empty text as NAME:=''"),
        ("sim_camera.node", ["--ros-args", "-p", "widht:=320"], 1, "no parameter 'widht'; is 'width' meant?"),
        ("lisa.node", ["--ros-args", "-p", "chekpoint:=/x"], 1, "no parameter 'chekpoint'; is 'checkpoint' meant?"),
        ("speech.starting", ["--ros-args", "-p", "lissten:=always"], 1, "no parameter 'lissten'; is 'listen' meant?"),
        ("console.node", ["--ros-args", "-p", "camras:=[a]"], 1, "no parameter 'camras'; is 'cameras' meant?"),
    ],
)
def test_the_programs_refuse_what_is_misspelt(
    module: str, arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    program = f"import sys; from lisa_ros.nodes.{module} import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=private_environment() | {"HOME": str(tmp_path)},  # whose dialogue file no other node has open
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == code and said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_has_no_effect_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("/**:\n  ros__parameters:\n    robot_description: x\n")
    other = tmp_path / "elsewhere.yaml"
    other.write_text("elsewhere:\n  ros__parameters:\n    use_depth: false\n")
    given = ["--params-file", str(file), "--params-file", str(other), "-r", "imgae:=/camera/image"]
    with started(scripted_node(*given)) as process:
        wait_until(lambda: "Ready" in process.output, "the node")
        assert "Parameter 'robot_description' was given, but this node has no parameter" in process.output
        assert f"{other} has no parameters for /lisa" in process.output
        assert f"{file} has no parameters" not in process.output
        assert "no topic 'imgae'; is 'image' meant?" in process.output


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"[" * 3000 + b"]" * 3000, "it is nested too deeply"),
        (b"{[a, b]: 1}", "found unhashable key"),
        (b"\xff", "can't decode byte 0xff"),
        (b"2020-13-45", ""),
        (b"99999999999999999999999999", ""),
    ],
)
def test_parameter_files_that_rcl_reads_and_yaml_does_not(tmp_path: Path, value: bytes, sentence: str) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_bytes(b"/**:\n  ros__parameters:\n    checkpoint: " + value + b"\n")
    arguments = ["lisa_node", "--ros-args", "--params-file", str(file)]
    if not sentence:
        assert files_without_effect(arguments, "/lisa") == []
        return
    with pytest.raises(StartError, match=f"The parameter file {file} cannot be read: .*{sentence}"):
        files_without_effect(arguments, "/lisa")


@pytest.mark.parametrize("program", ["lisa_node", "speech", "console", "sim_camera", "lisa"])
def test_ctrl_c_during_the_imports_leaves_no_traceback(tmp_path: Path, program: str) -> None:
    """Where a module is imported that sends the signal, as a person does who is in a hurry."""
    (tmp_path / "yaml.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    (tmp_path / "numpy.py").write_text((tmp_path / "yaml.py").read_text())
    environment = {**private_environment(), "PYTHONPATH": f"{tmp_path}:{private_environment().get('PYTHONPATH', '')}"}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / program)], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, "")
