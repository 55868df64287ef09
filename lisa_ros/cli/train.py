# SPDX-License-Identifier: Apache-2.0
"""`lisa train`: trains the embedded model again. The recipe has options of its own."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "train", help="train the embedded model from the beginning", add_help=False, passes_on=True
    )
    parser.set_defaults(run=run, resumes=True)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.training import recipe

    return recipe.main(options.rest)
