# SPDX-License-Identifier: Apache-2.0
"""`lisa verify`: whether a checkpoint folder still has the files of its manifest."""

from __future__ import annotations

import argparse
from typing import Any

from lisa_ros.cli.options import add_checkpoint


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("verify", help="compare a checkpoint's files with their SHA-256 manifest, or write it")
    add_checkpoint(parser, "the checkpoint", required=True)
    parser.add_argument("--write", action="store_true", help="write the manifest, SHA256SUMS, of the files as they are")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status: 1 where a file is not the one in the manifest."""
    from lisa_ros.segmentation.files.manifest import differences, write_manifest

    if options.write:
        print(f"{write_manifest(options.checkpoint)} written")
        return 0
    found = differences(options.checkpoint)
    for sentence in found:
        print(sentence)
    if not found:
        print(f"{options.checkpoint}: every file is the one in its manifest")
    return int(bool(found))
