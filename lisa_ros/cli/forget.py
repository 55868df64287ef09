# SPDX-License-Identifier: Apache-2.0
"""`lisa forget`: erases an operator's stored dialogue."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any


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
    """Runs it; returns the exit status: 1 where a file could not be changed, for example because its node runs."""
    from lisa_ros.dialogue.store import DialogueStore, StoreError

    failed = False
    for file in options.dialogue_file or _files():
        if not file.is_file():
            print(f"{file}: there is no such file")
            failed = True
            continue
        try:
            store = DialogueStore(file)
        except StoreError as error:
            print(error)
            failed = True
            continue
        try:
            print(f"{file}: {store.erase(options.operator)} turns of {options.operator!r} erased")
        finally:
            store.close()
    return int(failed)


def _files() -> list[Path]:
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return sorted((home / "lisa_ros").glob("*.sqlite"))
