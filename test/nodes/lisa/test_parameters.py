# SPDX-License-Identifier: Apache-2.0
"""Parameters: config/lisa.yaml has the same defaults, the node uses each of them, and each is described and bounded."""

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from paths import ROOT
from rcl_interfaces.msg import ParameterDescriptor

from lisa_ros.fleet.fallback import FallbackSegmenter
from lisa_ros.fleet.remote_segmenter import RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.requests import MOST_ANSWER_S
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.nodes.lisa import loading, parameters
from lisa_ros.nodes.lisa.commands.commands import Commands
from lisa_ros.nodes.lisa.live_parameters import check_choice, descriptor
from lisa_ros.nodes.lisa.loading import load_from_parameters
from lisa_ros.nodes.lisa.parameters import NodeParameters, ParameterError
from lisa_ros.nodes.lisa.state import NodeState
from lisa_ros.segmentation.errors import LisaError

FIELDS = {entry.name: entry for entry in dataclasses.fields(NodeParameters)}


def test_the_parameter_file_has_the_same_defaults() -> None:
    written = yaml.safe_load((ROOT / "config" / "lisa.yaml").read_text())["/**"]["ros__parameters"]
    assert written == dataclasses.asdict(NodeParameters())
    assert {name: type(value) for name, value in written.items()} == {n: type(e.default) for n, e in FIELDS.items()}


def test_every_declared_parameter_is_used() -> None:
    read: set[str] = set()
    for source in Path(loading.__file__).parent.rglob("*.py"):
        if re.search(r"lisa_ros\.nodes\.lisa\.(live_)?parameters import", source.read_text()):
            read |= {
                node.attr
                for node in ast.walk(ast.parse(source.read_text()))
                if isinstance(node, ast.Attribute) and is_parameters_object(node.value)
            }
    assert read - {"current", "on_change"} == set(FIELDS)


def is_parameters_object(expression: ast.expr) -> bool:
    """`parameters` and `....current`: the names in the node's sources."""
    return ast.unparse(expression).split(".")[-1] in ("parameters", "current")


def test_the_loader_gets_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, LoadOptions]] = []
    monkeypatch.setattr(loading, "load_segmenter", lambda *given: calls.append(given))
    load_from_parameters(NodeParameters())
    load_from_parameters(
        NodeParameters(
            checkpoint="/models/x",
            quantization="4bit",
            precision="fp16",
            device="cuda",
            template="llava_llama_2",
            vision_tower="/models/clip",
            cache_mib=7,
            threads=2,
        )
    )
    assert calls == [
        (embedded_checkpoint(), LoadOptions("llava_v1", "auto", "auto", "auto", None, threads=0)),
        ("/models/x", LoadOptions("llava_llama_2", "fp16", "4bit", "cuda", "/models/clip", 7, threads=2)),
    ]


class Wrapped:
    def __init__(self, name: str, segmenter: object) -> None:
        setattr(self, name, segmenter)


def test_answer_timeout_applies_to_a_server_while_the_node_runs() -> None:
    """A server stopped after the time that was set when the node was configured."""
    remote = RemoteSegmenter("lisa://127.0.0.1:9/none", RemoteSettings(answer_s=5.0))
    both = Wrapped("refined", Wrapped("reasoning", FallbackSegmenter(remote, MagicMock(), print)))
    state, changes = NodeState(), list[Any]()
    live = MagicMock(on_change=changes.append, current=NodeParameters(answer_timeout=20.0))
    commands = Commands(
        MagicMock(),
        live,
        state,
        MagicMock(),
        MagicMock(),
        transforms=MagicMock(),
        on_answered=print,
        on_exhausted=print,
    )
    # Loaded with 10 s, changed to 20 s meanwhile.
    commands.use_model(both, NodeParameters(answer_timeout=10.0))  # type: ignore[arg-type]
    assert remote.answer_s == 20.0
    for seconds, used in ((300.0, 300.0), (0.0, MOST_ANSWER_S)):
        for change in changes:
            change(NodeParameters(answer_timeout=seconds))
        assert remote.answer_s == used
    model = state.now.model
    assert model is not None
    model.worker.stop()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (LisaError("the folder is empty"), "Could not load the tracker: the folder is empty"),
        (RuntimeError("no GPU memory"), "Could not load the tracker: RuntimeError: no GPU memory"),
    ],
)
def test_a_tracker_that_cannot_be_loaded_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    """rclpy hides what a transition raises: the node could not be configured, and nothing said why."""
    monkeypatch.setattr(loading, "tracker_from_parameters", MagicMock(side_effect=error))
    with pytest.raises(loading.LoadError) as raised:
        loading.load_tracker(NodeParameters())
    assert str(raised.value) == sentence


@pytest.mark.parametrize("name", FIELDS)
def test_every_parameter_is_described_and_bounded(name: str) -> None:
    described: ParameterDescriptor = descriptor(name)
    assert described.description.endswith(".")
    default = FIELDS[name].default
    bounds = parameters.FIELD_BOUNDS[name]
    if isinstance(default, bool):
        return
    if isinstance(default, str):
        free = name == "target_frame"  # any name of a frame; tf2 says whether it exists
        assert free or bounds.read_only or bounds.at_configure or "One of: " in described.additional_constraints
        return
    (limits,) = [*described.integer_range, *described.floating_point_range]
    assert limits.from_value <= default <= limits.to_value


def test_an_invalid_choice_is_named() -> None:
    with pytest.raises(ParameterError, match="device is 'tpu'; it must be one of auto, cpu, cuda"):
        check_choice("device", "tpu")
    check_choice("checkpoint", "/anything")


def test_the_node_imports_no_torch() -> None:
    code = "import sys, lisa_ros.nodes.lisa.node; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_choices_are_those_of_the_loader() -> None:
    from lisa_ros.models.common import options

    own: dict[str, Any] = {
        "template": options.TEMPLATES,
        "precision": options.PRECISIONS,
        "quantization": options.QUANTIZATIONS,
        "device": options.DEVICES,
    }
    for name, choices in own.items():
        assert parameters.FIELD_BOUNDS[name].choices == choices
