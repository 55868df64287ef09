# SPDX-License-Identifier: Apache-2.0
"""`lisa policy`: the policy of a running system grants each role what it uses, and operators their own topics alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import rclpy
from console_page import address_of, console_command
from node_probe import Probe, probing
from ros_harness import ros_context, scripted_node, started, wait_until
from std_msgs.msg import Empty
from websockets.sync.client import connect

from lisa_ros.client import LisaClient
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.access.graph import rights_in_use
from lisa_ros.nodes.access.policy import policy_of
from lisa_ros.nodes.access.rights import Rights, rights_of_all

# policy.xsd, version 0.2.0: element -> its attributes (name -> required) and the elements in it.
SCHEMA = {
    "policy": ({"version": True}, {"enclaves"}),
    "enclaves": ({}, {"enclave"}),
    "enclave": ({"path": True}, {"profiles"}),
    "profiles": ({"type": False}, {"profile"}),
    "profile": ({"ns": True, "node": True}, {"topics", "services", "actions"}),
    "topics": ({"publish": False, "subscribe": False}, {"topic"}),
    "services": ({"reply": False, "request": False}, {"service"}),
    "actions": ({"call": False, "execute": False}, {"action"}),
    **{name: ({}, set()) for name in ("topic", "service", "action")},
}
VERBS = ("publish", "subscribe", "reply", "request", "execute", "call")


@dataclass
class System:
    """A node with two operators' topics and a console that run, and the policy that was written of them."""

    probe: Probe
    console: str
    policy: ElementTree.Element
    printed: str


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    file = tmp_path_factory.mktemp("policy") / "lisa.policy.xml"
    with ExitStack() as stack:
        probe = stack.enter_context(probing())
        node = stack.enter_context(started(scripted_node("-p", "operators:=anna,ben")))
        address = address_of(stack.enter_context(started(console_command())))
        probe.wait_for_node(node)
        command = [sys.executable, "-m", "lisa_ros.cli", "policy", "--output", str(file), "--seconds", "30"]
        written = subprocess.run(command, capture_output=True, text=True, check=False)
        assert written.returncode == 0, written.stderr
        yield System(probe, address, ElementTree.parse(file).getroot(), written.stdout)


def check_schema(element: ElementTree.Element) -> None:
    attributes, inner = SCHEMA[element.tag]
    assert set(element.attrib) <= set(attributes), element.tag
    assert {name for name, required in attributes.items() if required} <= set(element.attrib), element.tag
    rules = set(element.attrib.values()) if element.tag in ("topics", "services", "actions") else {"ALLOW"}
    assert rules == {"ALLOW"} and (not inner or len(element)), element.tag
    for one in element:
        assert one.tag in inner, one.tag
        check_schema(one)


def granted(policy: ElementTree.Element, enclave: str, verb: str) -> set[str]:
    found = policy.iterfind(f"enclaves/enclave[@path='{enclave}']/profiles/profile/*[@{verb}='ALLOW']/*")
    return {one.text or "" for one in found}


def not_granted(policy: ElementTree.Element, enclave: str, used: Rights) -> dict[str, set[str]]:
    """What a node uses beyond its enclave's rights."""
    missing = {}
    for verb in VERBS:
        rules = granted(policy, enclave, verb)
        extra = {name for name in getattr(used, verb) if not any(fnmatchcase(name, rule) for rule in rules)}
        missing[verb] = extra
    return {verb: names for verb, names in missing.items() if names}


def test_the_policy_has_sros2_s_format_and_an_enclave_for_each_role(system: System) -> None:
    check_schema(system.policy)
    assert system.policy.attrib["version"] == "0.2.0"
    paths = [one.attrib["path"] for one in system.policy.iter("enclave")]
    assert paths == ["/lisa", "/lisa/planner", "/lisa/operators/anna", "/lisa/operators/ben", "/console"]
    assert all(path in system.printed for path in paths)


def test_node_console_and_client_use_nothing_that_the_policy_denies(system: System) -> None:
    """The policy was written before a page was open: what a console subscribes to then is in it nevertheless."""
    port, looker = urlsplit(system.console).port, system.probe.node
    page = connect(f"ws://127.0.0.1:{port}/page", origin=f"http://127.0.0.1:{port}")
    with page, ros_context() as context, LisaClient(context=context) as client:
        page.send(json.dumps({"type": "hello", "operator": "anna"}))
        assert client.wait_until_ready()
        console = wait_until(lambda: (one := used(looker, "/console")) and len(one.subscribe) > 4 and one, "the page")
        assert "/lisa/segmentation" in console.subscribe
        assert not_granted(system.policy, "/console", console) == {}
        assert not_granted(system.policy, "/lisa", used(looker, "/lisa")) == {}
        name = client._node.get_fully_qualified_name()
        planner = wait_until(lambda: (one := used(looker, name)) and one.call and one, "the client's action")
        assert not_granted(system.policy, "/lisa/planner", planner) == {}


def used(looker: rclpy.node.Node, name: str) -> Rights:
    found = wait_until(lambda: rights_in_use(looker, name), name)
    assert isinstance(found, Rights)
    return found


def test_an_operator_may_use_their_own_two_topics_and_what_any_node_needs(system: System) -> None:
    anna = {verb: granted(system.policy, "/lisa/operators/anna", verb) for verb in VERBS}
    assert anna["publish"] == {"/lisa/operators/anna/command", "/rosout", "/parameter_events"}
    assert anna["subscribe"] == {"/lisa/operators/anna/answer", "/clock", "/parameter_events"}
    assert anna["request"] == anna["call"] == anna["execute"] == set()
    assert all(name.startswith("/operator_anna/") for name in anna["reply"])


def test_an_operator_s_node_is_answered_with_exactly_these_rights(system: System) -> None:
    with ros_context() as context:
        node = rclpy.create_node("operator_anna", context=context)
        answers: list[Segmentation] = []
        send = node.create_publisher(Command, "/lisa/operators/anna/command", 10)
        node.create_subscription(Segmentation, "/lisa/operators/anna/answer", answers.append, 10)
        wait_until(send.get_subscription_count, "the node")
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)

        def answered() -> bool:
            """The first answers may come before the LISA node knows of the subscription."""
            send.publish(Command(id="1", text="red"))
            executor.spin_once(1.0)
            return bool(answers)

        wait_until(answered, "the answer")
        assert answers[0].operator_id == "anna"
        own = wait_until(lambda: (one := used(system.probe.node, "/operator_anna")) and one.reply and one, "the node")
        assert not_granted(system.policy, "/lisa/operators/anna", own) == {}
        node.create_publisher(Empty, "/lisa/operators/ben/command", 1)
        more = wait_until(lambda: (one := used(system.probe.node, "/operator_anna")) != own and one, "the topic")
        assert not_granted(system.policy, "/lisa/operators/anna", more) == {"publish": {"/lisa/operators/ben/command"}}
        node.destroy_node()


def test_without_a_node_the_command_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lisa_ros.cli", "policy", "--node", "/nobody", "--seconds", "0.5"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert tried.returncode == 2 and "There is no node /nobody in this ROS domain" in tried.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_before_the_nodes_are_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for output, sentence in (
        (tmp_path, f"{tmp_path} is a folder; name a file for the output"),
        (file / "policy.xml", f"{file} is a file; name a folder for the output"),
        (Path("/dev/null"), "/dev/null is a device or a pipe; name a file for the output"),
    ):
        command = [sys.executable, "-m", "lisa_ros.cli", "policy", "--node", "/nobody", "--output", str(output)]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (tried.returncode, tried.stderr) == (2, f"lisa policy: {sentence}\n")


def test_the_sros2_tools_take_the_policy(system: System, tmp_path: Path) -> None:
    sros2 = pytest.importorskip("sros2.policy", reason="sros2 comes with ROS 2, not from PyPI")
    file = tmp_path / "policy.xml"
    file.write_text(ElementTree.tostring(system.policy, encoding="unicode"))
    assert sros2.load_policy(file)


@pytest.mark.unit
def test_names_are_data_in_the_policy() -> None:
    lisa = Rights("/lisa", "/", "lisa", publish=frozenset({"/a</topic><topic>b"}), subscribe=frozenset({"/image"}))
    root = ElementTree.fromstring(policy_of(rights_of_all(lisa)))
    check_schema(root)
    assert "/a</topic><topic>b" in granted(root, "/lisa", "publish")
