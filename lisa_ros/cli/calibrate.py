# SPDX-License-Identifier: Apache-2.0
"""`lisa calibrate`: fits a checkpoint's mask scores to a data set's truth."""

from __future__ import annotations

import argparse
from typing import Any

from lisa_ros.cli.options import add_model_options, add_questions, asked


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("calibrate", help="fit the mask scores of a checkpoint to a data set's truth")
    add_questions(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.evaluation.calibrate import Calibrating, calibrate

    return calibrate(Calibrating(**asked(options)))
