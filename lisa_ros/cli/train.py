# SPDX-License-Identifier: Apache-2.0
"""`lisa train`: makes the embedded checkpoint anew from its recipe, whose own options follow."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("train", help="make the embedded model anew from its recipe", add_help=False)
    parser.add_argument("--recipe", choices=("tabletop",), default="tabletop")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.training import recipe

    return recipe.main(options.rest)
