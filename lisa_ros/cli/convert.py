# SPDX-License-Identifier: Apache-2.0
"""`lisa convert`: writes a checkpoint as one folder that loads fast, quantized or not."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import add_vision_tower
from lisa_ros.cli.parsing import CommandParser, with_value
from lisa_ros.models.common.options import CONVERTED_TO, DEVICES


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser: CommandParser = commands.add_parser(
        "convert", help="write a checkpoint as one folder that loads fast, quantized or not"
    )
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="the released checkpoint: LISA's or SegLLM's folder, LIRA's pieces"
    )
    parser.add_argument("output", type=Path, metavar="DST", help="folder to write; new or empty; a rerun resumes there")
    parser.add_argument(
        "--quantization",
        choices=CONVERTED_TO,
        default="4bit",
        help="quantization of the weights that are written (default: %(default)s)",
    )
    add_vision_tower(parser)
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        applies=with_value("quantization", "8bit", "4bit"),
        help="where the weights are quantized (default: %(default)s)",
    )
    parser.set_defaults(run=run, resumes=True)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.models.common.conversion.work import Conversion
    from lisa_ros.models.converting import convert

    convert(Conversion(options.source, options.output, options.quantization, options.vision_tower, options.device))
    return 0
