# SPDX-License-Identifier: Apache-2.0
"""docs/parameters.md, made of the declarations: `python -m lisa_ros.nodes.lisa.parameter_manual docs/parameters.md`."""

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

from lisa_ros.nodes.lisa.parameters import FIELD_BOUNDS, NodeParameters, descriptor
from lisa_ros.nodes.sim_camera.node import SimCameraParameters, parameter_descriptor

_TYPES = {bool: "bool", int: "integer", float: "double", str: "string"}

_HEAD = """# Parameters

Generated from the nodes' parameter declarations with
`tools/run python -m lisa_ros.nodes.lisa.parameter_manual docs/parameters.md`; a test checks that this page is current.
`ros2 param describe` shows the same for a running node.
"""

_LISA_NODE = """## lisa_node

*Start*: read when the process starts, and read-only from then on. *Unconfigured*: read when the node is configured, and
not to be changed until it is cleaned up. *Always*: may be changed while the node runs, and holds from the next command
on. A wrong value is refused with a sentence; at the start the node says it and ends with exit code 1, as it does when
the checkpoint cannot be loaded. [`config/lisa.yaml`](../config/lisa.yaml) is a file with the defaults;
`config/rtx.yaml`, `config/jetson_orin.yaml` and `config/cpu_embedded.yaml` have what differs on such machines, and why.
"""

_SIM_CAMERA = """## sim_camera

All are read when the process starts.
"""


@dataclass(frozen=True)
class Row:
    """One parameter, as the manual shows it.

    Attributes:
        kind: ROS 2's name of the type.
        default: as YAML.
        values: range or choices; empty: any.
        changed: when it can be.
    """

    name: str
    kind: str
    default: str
    values: str
    changed: str
    meaning: str

    def __str__(self) -> str:
        cells = (f"`{self.name}`", self.kind, f"`{self.default}`", self.values, self.changed, self.meaning)
        # A bar would end the cell.
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def manual() -> str:
    """The whole page, Markdown."""
    lisa_node = (
        _row(entry, descriptor(entry.name), _moment(entry.name)) for entry in dataclasses.fields(NodeParameters)
    )
    camera = (_row(entry, parameter_descriptor(entry), "start") for entry in dataclasses.fields(SimCameraParameters))
    return "\n".join([_HEAD, _LISA_NODE, *_table(lisa_node), "", _SIM_CAMERA, *_table(camera), ""])


def _moment(name: str) -> str:
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
    """As people write it in YAML: 16, 0.5, 1000000000.0."""
    return repr(value)


def _table(rows: Iterable[Row]) -> list[str]:
    return ["| name | type | default | values | changed | meaning |", "|---|---|---|---|---|---|", *map(str, rows)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the manual to a file, or prints it."""
    parser = argparse.ArgumentParser(prog="lisa_ros.nodes.lisa.parameter_manual", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="to write (default: it is printed)")
    file: Path | None = parser.parse_args(arguments).file
    if file is None:
        print(manual(), end="")
    else:
        file.write_text(manual(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
