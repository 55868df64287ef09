# SPDX-License-Identifier: Apache-2.0
"""`lisa forget`: erases an operator's stored dialogue."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from lisa_ros.segmentation.errors import LisaError


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("forget", help="erase an operator's dialogue from the files of nodes that do not run")
    parser.add_argument("operator", metavar="OPERATOR", help="the operator_id")
    parser.add_argument(
        "--dialogue-file",
        type=Path,
        action="append",
        metavar="FILE",
        help="a node's parameter dialogue_file; may be repeated (default: all files in ROS_HOME/lisa_ros)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status: 1 where there is no file, or turns may be left, as in a running node's file."""
    from lisa_ros.dialogue.operators import operator_name
    from lisa_ros.dialogue.store import DialogueStore, StoreError, kept_aside

    if not options.operator.strip():  # as an unset variable of a script leaves it
        raise LisaError("the operator is empty; name the operator_id whose dialogue is to be erased")
    operator = operator_name(options.operator)
    files = options.dialogue_file or sorted(_home().glob("*.sqlite"))
    if not files:
        print(f"{_home()} has no dialogue file; name one with --dialogue-file, or the nodes' folder with ROS_HOME")
    failed = not files
    for file in files:
        if not file.is_file():
            print(f"{file}: there is no such file")
            failed = True
            continue
        try:
            with closing(DialogueStore(file)) as store:
                print(f"{file}: {store.erase(operator)} turns of {operator!r} erased")
        except StoreError as error:
            print(error)
            failed = True
            continue
        for aside in kept_aside(file):
            print(f"{aside}: was kept aside, and may hold turns of {operator!r}; delete it")
            failed = True
    return int(failed)


def _home() -> Path:
    return Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "lisa_ros"
