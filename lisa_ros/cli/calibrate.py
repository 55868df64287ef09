# SPDX-License-Identifier: Apache-2.0
"""`lisa calibrate`: fits a checkpoint's mask scores to a data set's truth, and writes them into its folder."""

from __future__ import annotations

import argparse
from typing import Any

from lisa_ros.cli.data_options import add_data_options, add_output, data_arguments
from lisa_ros.cli.options import add_checkpoint, add_load_options, add_max_new_tokens
from lisa_ros.cli.parsing import CommandParser


def add(commands: Any) -> None:
    """Adds the subcommand."""
    description = (
        "Fit the mask scores of a checkpoint to a data set's truth. Writes score.json into the checkpoint's folder; "
        "an earlier one is kept as score.json.bak."
    )
    parser: CommandParser = commands.add_parser(
        "calibrate",
        help="fit a checkpoint's mask scores, and write score.json into its folder",
        description=description,
    )
    add_data_options(parser)
    add_output(parser)
    add_checkpoint(parser, "score.json is written into its folder", required=True)
    add_load_options(parser)
    add_max_new_tokens(parser)
    parser.add_argument(
        "--force", action="store_true", help="replace a calibration that was fitted to more masks than the new one"
    )
    parser.set_defaults(run=run, resumes=True)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.evaluation.calibrate import Calibrating, calibrate

    return calibrate(Calibrating(**data_arguments(options), force=options.force))
