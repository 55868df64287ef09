# SPDX-License-Identifier: Apache-2.0
"""`lisa check`: whether a checkpoint would load, before its weights are read or even downloaded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import add_vision_tower


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("check", help="say whether a checkpoint would load; SegLLM's index file alone will do")
    parser.add_argument("checkpoint", type=Path, metavar="FOLDER", help="the checkpoint, or just its index in a folder")
    add_vision_tower(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status: 1 where it would not load."""
    from lisa_ros.models.checking import check_checkpoint

    return 0 if check_checkpoint(options.checkpoint, options.vision_tower) else 1
