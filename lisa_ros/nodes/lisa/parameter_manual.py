# SPDX-License-Identifier: Apache-2.0
"""Generates docs/parameters.md: `python -m lisa_ros.nodes.lisa.parameter_manual docs/parameters.md`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor

from lisa_ros.nodes.lisa.live_parameters import descriptor
from lisa_ros.nodes.lisa.parameters import FIELD_BOUNDS, NodeParameters
from lisa_ros.nodes.sim_camera.node import SimCameraParameters, parameter_descriptor
from lisa_ros.nodes.speech.parameters import SpeechParameters
from lisa_ros.nodes.speech.parameters import descriptor as speech_descriptor

_TYPES = {bool: "bool", int: "integer", float: "double", str: "string"}

_HEAD = """# Parameters

Generated from the nodes' parameter declarations with
`tools/run python -m lisa_ros.nodes.lisa.parameter_manual docs/parameters.md`; a test checks that this page is current.
`ros2 param describe` shows the same for a running node.
"""

_LISA_NODE = """## lisa_node

The column *changed* states when a parameter can be set. *start*: only on the command line or in a parameter file; it is
read when the process starts. *unconfigured*: while the node is unconfigured (before `configure` or after `cleanup`); it
is read by `configure`. *always*: at any time; it applies from the next command on. An invalid value is refused with the
reason. If it is given at the start, the node logs the reason and ends with exit code 1, as it does if the checkpoint
cannot be loaded.

[`config/lisa.yaml`](../config/lisa.yaml) has all parameters with their defaults. `config/rtx.yaml`,
`config/jetson_orin.yaml` and `config/cpu_embedded.yaml` have the values that differ on such machines, with the reasons.
"""

_QOS = """### QoS of topics

`qos_overrides.TOPIC.publisher.POLICY` and `qos_overrides.TOPIC.subscription.POLICY` set the QoS of one topic when the
process starts. POLICY is `reliability` (`reliable`, `best_effort`), `history` (`keep_last`, `keep_all`) or `depth`.
TOPIC is the topic's full name after all remappings:

```yaml
/**:
  ros__parameters:
    qos_overrides:
      /camera/camera/color/image_raw:
        subscription: {reliability: reliable, depth: 2}
```

A topic that the node does not have is ignored, as everywhere in ROS 2: `ros2 param list /lisa` shows the names that are
used. `~` is the node's name, `/lisa` by default.
"""

_QOS_INPUTS = ("image", "depth", "camera_info")
_QOS_OUTPUTS = (
    *("centroid", "pose", "points", "grip_point", "markers", "confidence", "labels"),
    *("detections", "detections_2d", "frame/image", "frame/depth", "frame/camera_info"),
    *("tracked/mask", "tracked/centroid_pixel", "tracked/centroid", "tracked/pose", "tracked/points"),
)

_SIM_CAMERA = """## sim_camera

All parameters are read when the process starts.
"""

_SPEECH = """## speech

All parameters are read when the process starts. [`config/speech.yaml`](../config/speech.yaml) is a file with the
defaults; [Spoken commands](speech.md) explains them.
"""


@dataclass(frozen=True)
class Row:
    """One parameter as a row of the table.

    Attributes:
        name: Of the parameter.
        kind: ROS 2's name of its type.
        default: As YAML.
        values: Range or choices; empty: any.
        changed: When it can be changed.
        meaning: The description.
    """

    name: str
    kind: str
    default: str
    values: str
    changed: str
    meaning: str

    def __str__(self) -> str:
        cells = (f"`{self.name}`", self.kind, f"`{self.default}`", self.values, self.changed, self.meaning)
        # A vertical bar would end the cell.
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def manual() -> str:
    """The page as Markdown."""
    lisa_node = (
        _row(entry, descriptor(entry.name), _changeable(entry.name)) for entry in dataclasses.fields(NodeParameters)
    )
    camera = (_row(entry, parameter_descriptor(entry), "start") for entry in dataclasses.fields(SimCameraParameters))
    speech = (_row(entry, speech_descriptor(entry), "start") for entry in dataclasses.fields(SpeechParameters))
    tables = [
        _LISA_NODE,
        *_table(lisa_node),
        "",
        _QOS,
        *_qos_table(),
        "",
        _SIM_CAMERA,
        *_table(camera),
        "",
        _SPEECH,
        *_table(speech),
    ]
    return "\n".join([_HEAD, *tables, ""])


def _qos_table() -> list[str]:
    """The topics whose QoS can be set; a test compares them with a running node's."""
    inputs = ", ".join(f"`{name}`" for name in _QOS_INPUTS)
    outputs = ", ".join(f"`~/{name}`" for name in _QOS_OUTPUTS)
    fixed = "the commands, `~/segmentation`, `~/mask` and all other topics: no answer may be lost"
    return [
        "| | topics |",
        "|---|---|",
        f"| subscription | {inputs} (with their transport's ending: `image/compressed`, `depth/compressedDepth`) |",
        f"| publisher | {outputs} |",
        f"| fixed | {fixed} |",
    ]


def _changeable(name: str) -> str:
    bounds = FIELD_BOUNDS[name]
    return "start" if bounds.read_only else "unconfigured" if bounds.at_configure else "always"


def _row(entry: dataclasses.Field[Any], described: ParameterDescriptor, changed: str) -> Row:
    default: Any = entry.default
    shown = default if isinstance(default, str) and default else json.dumps(default)
    return Row(entry.name, _TYPES[type(default)], shown, _values(described), changed, described.description)


def _values(described: ParameterDescriptor) -> str:
    for limits in (*described.integer_range, *described.floating_point_range):
        return f"{_number(limits.from_value)} to {_number(limits.to_value)}"
    return str(described.additional_constraints).removeprefix("One of: ")


def _number(value: float) -> str:
    """As written in YAML: 16, 0.5, 1000000000.0."""
    return repr(value)


def _table(rows: Iterable[Row]) -> list[str]:
    return ["| name | type | default | values | changed | meaning |", "|---|---|---|---|---|---|", *map(str, rows)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to a file, or print it."""
    parser = argparse.ArgumentParser(prog="lisa_ros.nodes.lisa.parameter_manual", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="file to write (default: print the page)")
    file: Path | None = parser.parse_args(arguments).file
    if file is None:
        print(manual(), end="")
    else:
        file.write_text(manual(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
