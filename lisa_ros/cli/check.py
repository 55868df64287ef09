# SPDX-License-Identifier: Apache-2.0
"""`lisa check`: whether a checkpoint would load, before its weights are read or even downloaded."""

from __future__ import annotations

import argparse
from typing import Any

from lisa_ros.cli.options import add_checkpoint, add_vision_tower, of_models


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("check", help="check whether a checkpoint would load, without reading its weights")
    add_checkpoint(parser, "the checkpoint; of SegLLM its index file in a folder is enough", required=True)
    add_vision_tower(parser, of_models("vision_tower"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status: 1 where it would not load."""
    from lisa_ros.models.checking import check_checkpoint

    return 0 if check_checkpoint(options.checkpoint, options.vision_tower) else 1
