# SPDX-License-Identifier: Apache-2.0
"""With SROS2 enforced, an operator gets answers on their own topics and on no other's.

Needs sros2 and a middleware with its security libraries; PyPI's Fast DDS has none. Skipped elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_probe import probing
from ros_harness import Process, private_environment, scripted_node, started, wait_until

keystores = pytest.importorskip("sros2.keystore", reason="sros2 comes with ROS 2, not from PyPI")

from sros2.keystore import _enclave, _keystore, _permission  # noqa: E402

ENCLAVES = ("/lisa", "/lisa/operators/anna", "/lisa/operators/ben", "/lisa/planner")
OPERATOR = Path(__file__).parent / "one_operator.py"


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and permissions by the policy of a node that runs without security."""
    folder = tmp_path_factory.mktemp("sros2")
    policy = folder / "lisa.policy.xml"
    with probing() as probe, started(scripted_node("-p", "operators:=anna,ben")) as node:
        probe.wait_for_node(node)
        command = [sys.executable, "-m", "lisa_ros.cli", "policy", "--output", str(policy)]
        subprocess.run(command, check=True, capture_output=True)
    _keystore.create_keystore(folder / "keys")
    for enclave in ENCLAVES:
        _enclave.create_enclave(folder / "keys", enclave)
        _permission.create_permission(folder / "keys", enclave, policy)
    return folder / "keys"


@pytest.fixture(scope="module")
def secure_node(keystore: Path) -> Iterator[Process]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_SECURITY_KEYSTORE", str(keystore))
        patch.setenv("ROS_SECURITY_ENABLE", "true")
        patch.setenv("ROS_SECURITY_STRATEGY", "Enforce")
        settings = ("--enclave", "/lisa", "-p", "operators:=anna,ben", "-p", "shared_command:=false")
        with started(scripted_node(*settings)) as node:
            wait_until(lambda: not node.alive or "Ready" in node.output, "the node")
            if not node.alive and "security" in node.output:
                pytest.skip("this middleware is built without its security libraries")
            assert node.alive, node.output
            yield node


def tried(name: str, operator: str, **environment: str) -> dict[str, Any]:
    """What `name`, with their own keys, gets on the topics of `operator`."""
    command = [sys.executable, str(OPERATOR), name, operator, "--ros-args", "--enclave", f"/lisa/operators/{name}"]
    run = subprocess.run(
        command, env={**private_environment(), **environment}, capture_output=True, text=True, check=True
    )
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_an_operator_is_answered_on_their_own_topics(secure_node: Process) -> None:
    assert tried("anna", "anna")["answers"] > 0


def test_another_operator_s_topics_are_denied(secure_node: Process) -> None:
    before = secure_node.output
    found = tried("anna", "ben")
    assert found["answers"] == 0
    assert "red" not in secure_node.output.removeprefix(before), "no command of anna's arrived as ben's"


def test_a_program_without_keys_is_not_heard(secure_node: Process) -> None:
    assert tried("anna", "anna", ROS_SECURITY_ENABLE="false")["answers"] == 0
