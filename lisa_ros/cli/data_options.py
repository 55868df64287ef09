# SPDX-License-Identifier: Apache-2.0
"""Options of the subcommands that take questions from a data set. Imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import load_options, whole_number
from lisa_ros.cli.parsing import CommandParser, Condition, with_value
from lisa_ros.evaluation.options import DATASETS, PHRASINGS
from lisa_ros.segmentation.files.arguments import given_text

REFCOCO_FAMILY = ("refcoco", "refcoco+", "refcocog", "grefcoco")


def add_data_options(
    parser: CommandParser, phrasing_applies: Condition | None = None, *, required: bool = True
) -> None:
    """Adds what a data set's questions are taken from; `data_arguments` reads it.

    Args:
        parser: of the subcommand.
        phrasing_applies: the condition of --phrasing; None: it always applies.
        required: whether argparse asks for --dataset.
    """
    parser.add_argument(
        "--dataset", choices=DATASETS, required=required, help="folder: your own images, in any format of `lisa data`"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="the data set's folder (tabletop: folder of rendered views)"
    )
    parser.add_argument(
        "--split",
        type=given_text,
        metavar="NAME",
        applies=with_value("dataset", *(name for name in DATASETS if name != "folder"), text="to published data sets"),
        help="part of the data set, see docs/evaluation.md (default: val; tabletop: validation)",
    )
    parser.add_argument(
        "--partition",
        type=given_text,
        applies=with_value("dataset", *REFCOCO_FAMILY, text="to RefCOCO's family"),
        help="partition of RefCOCO's family: unc, umd, google (default: the usual one)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        applies=with_value("dataset", *REFCOCO_FAMILY, "mr_refcoco", text="to RefCOCO's family and mr_refcoco"),
        help="COCO's images, where they are not in the usual place",
    )
    parser.add_argument("--limit", type=whole_number, metavar="N", help="only the first N images or dialogues")
    parser.add_argument(
        "--phrasing",
        choices=PHRASINGS,
        applies=phrasing_applies or (),
        help="how questions are phrased (default: as usual for the data set)",
    )


def add_output(parser: CommandParser) -> None:
    """Adds --output."""
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of the results; the same command resumes there",
    )


def data_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_data_options`, `add_output` and the model's options parsed, by the fields of Evaluation."""
    from lisa_ros.datasets.catalogue import DATASETS as READERS
    from lisa_ros.datasets.catalogue import Source

    split = options.split or READERS[options.dataset].split
    return {
        "dataset": options.dataset,
        "source": Source(options.data, split, options.partition, options.images, options.limit),
        "output": options.output,
        "checkpoint": options.checkpoint,
        "options": load_options(options),
        "max_new_tokens": options.max_new_tokens,
        "phrasing": options.phrasing,
    }
