# SPDX-License-Identifier: Apache-2.0
"""`lisa data`: your own images, checked before a training, and converted from what annotation tools export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import whole_number
from lisa_ros.cli.parsing import CommandParser, Commands, with_option

_FORMATS = "images with a JSON file each (ReasonSeg, LabelMe), with COCO's instances, or with masks as PNG"


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("data", help="check your own images, or convert them from other formats")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=CommandParser, action=Commands
    )
    _add_check(actions)
    _add_convert(actions)


def _add_check(actions: Any) -> None:
    parser = actions.add_parser("check", help="count images and questions, and show what looks wrong")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=_FORMATS)
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="folder for sheet.png and check.html, which show the questions"
    )
    parser.add_argument(
        "--show",
        type=whole_number,
        default=60,
        metavar="N",
        applies=with_option("output"),
        help="questions shown there (default: 60)",
    )
    parser.set_defaults(run=check)


def _add_convert(actions: Any) -> None:
    parser = actions.add_parser("convert", help="write images with a JSON file each (docs/training.md has the format)")
    parser.add_argument("source", type=Path, metavar="SRC", help="LabelMe's files, COCO's instances, masks as PNG")
    parser.add_argument("output", type=Path, metavar="DST", help="folder to write; new or empty")
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help='JSON: {"label": ["text", ...]} (default: texts.json of SRC)'
    )
    parser.set_defaults(run=convert)


def check(options: argparse.Namespace) -> int:
    """Runs `lisa data check`; returns the exit status: 1 where something cannot be used."""
    from lisa_ros.datasets.own.contact_sheet import write_sheet
    from lisa_ros.datasets.own.inspection import inspect
    from lisa_ros.datasets.own.reading import format_of, read_as
    from lisa_ros.datasets.own.texts import texts_in, unused_texts
    from lisa_ros.segmentation.files.output_folders import make_output_folder

    if options.output is not None:
        make_output_folder(options.output)
    form, texts = format_of(options.folder), texts_in(options.folder)
    print(f"{options.folder}: format {form}")
    samples = read_as(form, options.folder, texts)
    found = inspect(samples)
    found.problems += unused_texts(samples, texts)
    print("\n".join(found.lines()))
    if options.output is not None:
        print("\n".join(map(str, write_sheet(options.output, str(options.folder), found, options.show))))
    return 1 if found.problems else 0


def convert(options: argparse.Namespace) -> int:
    """Runs `lisa data convert`; returns the exit status: 1 where an image or a text was left out."""
    from lisa_ros.datasets.own.converting import convert_data
    from lisa_ros.datasets.own.texts import read_texts

    texts = None if options.texts is None else read_texts(options.texts)
    written, problems = convert_data(options.source, options.output, texts)
    print(f"images with masks written to {options.output}: {written}")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0
