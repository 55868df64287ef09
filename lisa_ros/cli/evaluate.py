# SPDX-License-Identifier: Apache-2.0
"""`lisa evaluate`: measures a checkpoint on a data set, or compares earlier runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.data_options import add_data_options, add_output, data_arguments
from lisa_ros.cli.options import (
    add_checkpoint,
    add_fusion_scales,
    add_load_options,
    add_max_new_tokens,
    count,
    of_models,
)
from lisa_ros.cli.parsing import CommandParser, with_value, without
from lisa_ros.evaluation.options import PROTOCOLS, REFERENCES
from lisa_ros.segmentation.answers import ANSWER_KINDS

_GENERATED = with_value("protocol", "generate", "quantization")


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser: CommandParser = commands.add_parser(
        "evaluate", help="measure a checkpoint on a data set, or compare earlier runs"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="output folders of earlier runs: one table, one page, with confidence intervals; no model is run",
    )
    add_data_options(parser, _GENERATED, required=False)
    add_output(parser)
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, help="how questions are asked and which mask is scored, see docs/evaluation.md"
    )
    parser.add_argument(
        "--answer",
        choices=ANSWER_KINDS,
        default="full",
        applies=with_value("protocol", "generate"),
        help="mask_only: one mask and no text (default: %(default)s)",
    )
    parser.add_argument(
        "--union",
        action="store_true",
        applies=_GENERATED,
        help="score the union of all masks of an answer, not the first mask alone",
    )
    parser.add_argument(
        "--references",
        choices=REFERENCES,
        default="own",
        applies=(_GENERATED, with_value("dataset", "mr_refcoco"), of_models("references")),
        help="masks of earlier rounds that the model gets where a round refers to them: its own, the true ones, none",
    )
    parser.add_argument(
        "--all-texts",
        action="store_true",
        applies=with_value("dataset", "reason_seg", "folder"),
        help="ask every text of an image, not the first alone",
    )
    parser.add_argument(
        "--report-images", type=count, default=60, metavar="N", help="images in report.html (default: %(default)s)"
    )
    add_checkpoint(parser)
    add_load_options(parser)
    add_fusion_scales(parser)
    add_max_new_tokens(parser, (_GENERATED, with_value("answer", "full")))
    parser.restrict(without("compare"), unless=("--compare", "--output", "--report-images"))
    parser.set_defaults(run=run, resumes=True)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    if options.compare is not None:
        from lisa_ros.evaluation.comparison.run import compare_runs

        return compare_runs(options.compare, options.output, options.report_images)
    missing = [f"--{name}" for name in ("dataset", "protocol") if getattr(options, name) is None]
    if missing:
        options.parser.error(f"the following arguments are required: {', '.join(missing)}")
    from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation

    return run_evaluation(
        Evaluation(
            **data_arguments(options),
            protocol=options.protocol,
            rule="union" if options.union else "first",
            references=options.references,
            all_texts=options.all_texts,
            report_images=options.report_images,
            answer=options.answer,
        )
    )
