# SPDX-License-Identifier: Apache-2.0
"""Options of `lisa benchmark`. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lisa_ros.models.common.options import LoadOptions

SHAPES = ("embedded", "mini", "7b", "13b")
AGAINST = ("upstream-style",)
NODE_PARTS = ("idling", "added_time", "flood", "restarting")


@dataclass(frozen=True)
class BenchmarkOptions:
    """One measurement.

    Attributes:
        shape: one of SHAPES; "embedded" is the checkpoint that comes with the package, the others have random weights.
        checkpoint: a folder to be measured instead of a shape.
        load: precision, quantization, device.
        repeats: rounds; medians are reported.
        against: one of AGAINST, or None.
        tokens: of the answer that is timed to its end.
        output: folder for benchmark.json and stages.png.
        memory_cap_gib: GPU memory that the process may take; None: all.
    """

    shape: str = "embedded"
    checkpoint: Path | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    repeats: int = 3
    against: str | None = None
    tokens: int = 64
    output: Path = Path("output/benchmark")
    memory_cap_gib: float | None = None


@dataclass(frozen=True)
class NodeBenchmarkOptions:
    """One measurement of lisa_node; needs ROS.

    Attributes:
        parts: of NODE_PARTS, in the order in which they are measured.
        checkpoint: None: the one that comes with the package.
        load: as the node's parameters of the same names.
        output: folder for the JSON file.
        width, height: of the simulated camera's images, pixels.
        rate_hz: of its images.
        operators, commands: of the flood; each of the operators sends so many commands.
        pairs: of commands whose added time is measured.
        idle_s: seconds that the node is watched without a command.
        timeout_s: longest wait for a node or an answer.
    """

    parts: tuple[str, ...] = NODE_PARTS
    checkpoint: Path | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    output: Path = Path("output/benchmark")
    width: int = 1280
    height: int = 720
    rate_hz: float = 30.0
    operators: int = 8
    commands: int = 100
    pairs: int = 40
    idle_s: float = 20.0
    timeout_s: float = 180.0


@dataclass(frozen=True)
class ConsoleBenchmarkOptions:
    """One measurement of the console; needs ROS.

    Attributes:
        pages: with live images.
        rounds: each has a block without pages and one with them.
        pairs: of commands of a block.
        typed: commands that are typed into a page in Chromium.
        output: folder for the JSON file.
        timeout_s: longest wait for a node or an answer.
    """

    pages: int = 8
    rounds: int = 6
    pairs: int = 15
    typed: int = 30
    output: Path = Path("output/benchmark")
    timeout_s: float = 180.0
