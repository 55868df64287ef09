# SPDX-License-Identifier: Apache-2.0
"""docs/parameters.md is generated from the parameters' declarations."""

import dataclasses
import re
from contextlib import suppress
from pathlib import Path

from node_probe import Probe
from paths import DOCS
from rcl_interfaces.srv import ListParameters
from ros_harness import wait_until

from lisa_ros.nodes.lisa import parameter_manual
from lisa_ros.nodes.lisa.parameter_manual import manual
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.nodes.speech.parameters import SpeechParameters


def row(name: str, node: str = "lisa_node") -> list[str]:
    (section,) = [text for text in manual().split("\n## ") if text.startswith(f"{node}\n")]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_page_is_current() -> None:
    command = "run: tools/run python -m lisa_ros.nodes.lisa.parameter_manual docs/parameters.md"
    assert (DOCS / "parameters.md").read_text() == manual(), command


def test_every_parameter_has_one_row() -> None:
    for entry in dataclasses.fields(NodeParameters):
        assert len(row(entry.name)) == 6
    for entry in dataclasses.fields(SpeechParameters):
        assert len(row(entry.name, "speech")) == 6


def test_rows_have_type_default_values_and_when_it_can_be_changed() -> None:
    assert row("queue_size")[1:5] == ["integer", "`16`", "1 to 1000", "always"]
    assert row("max_image_age")[1:5] == ["double", "`5.0`", "0.0 to 1000000000.0", "always"]
    assert row("device")[1:5] == ["string", "`auto`", "auto, cpu, cuda", "unconfigured"]
    assert row("autostart")[1:5] == ["bool", "`true`", "", "start"]
    assert row("seed", "sim_camera")[1:5] == ["integer", "`0`", "0 to 2147483647", "start"]
    assert row("checkpoint")[2] == '`""`'


def overridable(probe: Probe) -> set[tuple[str, str]]:
    """(kind, name) of the node's topics with QoS overrides; its camera's are there once it is configured."""
    client = probe.node.create_client(ListParameters, "/lisa/list_parameters")
    wait_until(client.service_is_ready, "list_parameters")
    listed = client.call_async(ListParameters.Request(prefixes=["qos_overrides"]))
    wait_until(listed.done, "the names")
    probe.node.destroy_client(client)
    names = (re.fullmatch(r"qos_overrides\.(.+)\.(\w+)\.\w+", name) for name in listed.result().result.names)
    declared = {(found[2], found[1].replace("/lisa/", "~/").removeprefix("/")) for found in names if found}
    return {(kind, name) for kind, name in declared if name not in ("parameter_events", "clock", "rosout")}


def test_the_topics_whose_qos_can_be_set_are_those_of_a_running_node(scripted_probe: Probe) -> None:
    section = manual().partition("### QoS of topics")[2].partition("## sim_camera")[0]
    rows = dict(re.findall(r"^\| (subscription|publisher) \| (.*) \|$", section, re.MULTILINE))
    written = {(kind, name) for kind, cell in rows.items() for name in re.findall(r"`([^`]+)`", cell.split(" (")[0])}
    optional = {("publisher", name) for name in ("~/detections", "~/detections_2d")}  # where vision_msgs is installed
    with suppress(AssertionError):  # the node may still become active; the next line shows what differs in the end
        wait_until(lambda: overridable(scripted_probe) - optional == written - optional, "the topics")
    assert written - optional == overridable(scripted_probe) - optional


def test_it_is_written_to_a_file(tmp_path: Path) -> None:
    assert parameter_manual.main([str(tmp_path / "x.md")]) == 0
    assert (tmp_path / "x.md").read_text() == manual()


def test_the_interface_page_links_to_it_and_does_not_repeat_it() -> None:
    page = (DOCS / "interfaces.md").read_text()
    assert "](parameters.md)" in page
    assert "| `max_new_tokens` |" not in page
