# SPDX-License-Identifier: Apache-2.0
"""`lisa evaluate`: measures a checkpoint on a published data set."""

from __future__ import annotations

import argparse
from typing import Any

from lisa_ros.cli.options import add_model_options, add_questions, asked, count
from lisa_ros.evaluation.options import PROTOCOLS, REFERENCES
from lisa_ros.segmentation.answers import ANSWER_KINDS


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("evaluate", help="measure a checkpoint on a published data set")
    add_questions(parser)
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument("--answer", choices=ANSWER_KINDS, default="full", help="of generate: all, or one mask, no text")
    parser.add_argument("--union", action="store_true", help="judge all masks of an answer together, not the first")
    parser.add_argument(
        "--references",
        choices=REFERENCES,
        default="own",
        help="what a model is shown of the rounds that a round refers to: its own masks, the true ones, none",
    )
    parser.add_argument("--all-texts", action="store_true", help="ask every text of an image, not the first alone")
    parser.add_argument("--pictures", type=count, default=60, help="shown in the report (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation

    return run_evaluation(
        Evaluation(
            **asked(options),
            protocol=options.protocol,
            rule="union" if options.union else "first",
            references=options.references,
            all_texts=options.all_texts,
            pictures=options.pictures,
            answer=options.answer,
        )
    )
