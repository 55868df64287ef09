# SPDX-License-Identifier: Apache-2.0
"""`lisa download`: fetches a checkpoint, and the CLIP that it names, from the Hugging Face hub ahead of its use."""

from __future__ import annotations

import argparse
from typing import Any

from lisa_ros.models.common.checkpoints.hub import CHECKPOINT_FILES, VISION_TOWER_FILES, find_folder, is_here
from lisa_ros.models.common.config_file import config_of
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.arguments import given_text


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("download", help="fetch a checkpoint from the Hugging Face hub into the local cache")
    parser.add_argument("repository", nargs="+", metavar="ID", help="id on the hub, for example xinlai/LISA-7B-v1")
    parser.add_argument("--revision", type=given_text, help="branch, tag or commit (default: the main branch)")
    parser.add_argument(
        "--include",
        nargs="+",
        metavar="PATTERN",
        default=CHECKPOINT_FILES,
        help="files to fetch (default: all of a checkpoint)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    for repository in options.repository:
        if is_here(repository) and options.given:
            raise LisaError(f"{options.given[0]} applies only to ids on the hub; {repository} is a folder or file here")
        folder = find_folder(repository, files=tuple(options.include), revision=options.revision)
        print(f"{repository} is here, not downloaded" if is_here(repository) else f"{repository}: {folder}")
        config = config_of(folder)
        tower = str(config.get("vision_tower") or config.get("mm_vision_tower") or "")
        if tower and not (folder / tower).is_dir():
            print(f"{tower}: {find_folder(tower, 'CLIP', files=VISION_TOWER_FILES)}")
    return 0
