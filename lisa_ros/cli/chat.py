# SPDX-License-Identifier: Apache-2.0
"""`lisa chat`: a dialogue in the terminal about image files, a camera, or with a running node."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_ros.cli.options import add_checkpoint, add_load_options, add_max_new_tokens, count, load_options, ros_name
from lisa_ros.cli.parsing import CommandParser, with_option, without
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.errors import LisaError

if TYPE_CHECKING:
    from lisa_ros.chat.sources import Source
    from lisa_ros.chat.terminal_images import Protocol

_DISPLAYS = ("auto", "kitty", "iterm2", "sixel", "blocks", "none")


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser: CommandParser = commands.add_parser(
        "chat", help="have a dialogue in the terminal: about images, with a camera, or with a running node"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, metavar="FILE|FOLDER", help="an image, or a folder of images")
    source.add_argument("--camera", type=count, metavar="NUMBER", help="a camera of this computer, for example 0")
    source.add_argument("--ros", action="store_true", help="talk to a running lisa_node")
    add_checkpoint(parser)
    add_load_options(parser)
    add_max_new_tokens(parser)
    parser.restrict(without("ros"), unless=())  # a running node has its own model
    with_ros = with_option("ros")
    parser.add_argument(
        "--node",
        type=ros_name,
        default="/lisa",
        applies=with_ros,
        help="with --ros: the node's name with its namespace (default: %(default)s)",
    )
    parser.add_argument(
        "--operator", default="default", applies=with_ros, help="with --ros: your operator_id (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("output/chat"), help="folder for overlays and /save (default: %(default)s)"
    )
    parser.add_argument(
        "--display",
        choices=_DISPLAYS,
        default="auto",
        help="how the terminal shows images; none: overlays are written to files (default: what the terminal can)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.chat.session import ChatSession, typed_lines
    from lisa_ros.chat.terminal_images import supported_protocol

    _accept_any_bytes()
    source = _source(options)
    protocol: Protocol = options.display
    if options.display == "auto":
        protocol = supported_protocol(is_terminal=sys.stdout.isatty())
    dialogue = _dialogue(options, source)
    names = source.names if source is not None else lambda: []
    try:
        session = ChatSession(dialogue, source, options.output, protocol)
        session.run(typed_lines(names, _history()) if sys.stdin.isatty() else sys.stdin)
    finally:
        dialogue.close()
    return 0


def _accept_any_bytes() -> None:
    """Lines in another encoding are refused one by one, as all wrong ones are; their bytes must not end the chat."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def _source(options: argparse.Namespace) -> Source | None:
    from lisa_ros.chat.sources import CameraSource, FileSource

    if options.ros:
        return None
    return FileSource(options.image) if options.image is not None else CameraSource(options.camera)


def _dialogue(options: argparse.Namespace, source: Source | None) -> Any:
    if source is None:
        try:
            from lisa_ros.chat.ros_dialogue import RosDialogue
        except ModuleNotFoundError as error:
            raise LisaError(
                f"--ros needs ROS 2: source it and this package's install/local_setup.bash ({error})"
            ) from error
        return RosDialogue(options.node, options.operator)
    from lisa_ros.chat.dialogues import ModelDialogue
    from lisa_ros.models.model import Model

    model = Model(load_segmenter(options.checkpoint, load_options(options)))
    return ModelDialogue(model, source, options.max_new_tokens)


def _history() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "lisa_ros" / "chat_history"
