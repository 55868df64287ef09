# SPDX-License-Identifier: Apache-2.0
"""A node's command line: what is refused, what is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from lisa_ros.nodes.common.command_line import check_arguments, check_overrides, files_without_effect, wants_help
from lisa_ros.nodes.common.starting import StartError

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
