# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of lisa_node."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from node_probe import Probe
from rclpy.signals import SignalHandlerOptions
from ros_harness import private_domain
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.nodes.lisa.node import LisaNode
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.interface import Segmenter


@pytest.fixture(scope="session")
def probe(scripted_probe: Probe) -> Probe:
    """The shared node. A module that needs other parameters has a fixture of the same name."""
    return scripted_probe


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that does not exist: the model waits in a command "gate <file>" until it does."""
    return tmp_path / "gate"


@contextmanager
def node_here(load: Callable[[NodeParameters], Segmenter] = lambda _: ScriptedSegmenter()) -> Iterator[LisaNode]:
    """LisaNode as `/here` in this process, unconfigured and without an executor; the test calls its `close`."""
    settings = ["-r", "__node:=here", "-p", "dialogue_file:=''", "-p", "autostart:=false"]
    options = SignalHandlerOptions.NO
    rclpy.init(args=["--ros-args", *settings], domain_id=private_domain(), signal_handler_options=options)
    try:
        node = LisaNode(load=load)
        yield node
        node.destroy_node()
    finally:
        rclpy.shutdown()


@pytest.fixture(name="node_here")
def make_node_here() -> Callable[..., object]:
    """See node_here."""
    return node_here
