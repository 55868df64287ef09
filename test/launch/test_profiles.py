# SPDX-License-Identifier: Apache-2.0
"""The parameter files for kinds of machines: only what differs, with its reason, and nothing the node would refuse."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import yaml
from paths import CONFIG

from lisa_ros.nodes.lisa.live_parameters import check_choice
from lisa_ros.nodes.lisa.parameters import FIELD_BOUNDS, NodeParameters

PROFILES = ("rtx.yaml", "jetson_orin.yaml", "cpu_embedded.yaml")
DEFAULTS = dataclasses.asdict(NodeParameters())


def parameters_of(profile: str) -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load((CONFIG / profile).read_text())["/**"]["ros__parameters"]
    return written


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_only_what_differs(profile: str) -> None:
    for name, value in parameters_of(profile).items():
        assert value != DEFAULTS[name], f"{name} has its default"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_node_would_take_a_profile(profile: str) -> None:
    for name, value in parameters_of(profile).items():
        assert type(value) is type(DEFAULTS[name]), name
        check_choice(name, value)
        bounds = FIELD_BOUNDS[name]
        if bounds.minimum is not None and bounds.maximum is not None:
            assert bounds.minimum <= value <= bounds.maximum, name


@pytest.mark.parametrize("profile", PROFILES)
def test_every_line_of_a_profile_has_a_reason_above_it(profile: str) -> None:
    lines = (CONFIG / profile).read_text().splitlines()
    names = parameters_of(profile)
    for before, line in itertools.pairwise(lines):
        if line.strip().split(":")[0] in names:
            assert before.strip().startswith("# "), line
