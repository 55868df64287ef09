# SPDX-License-Identifier: Apache-2.0
"""`lisa bag`: answers commands about a recorded bag and writes a bag of the answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_ros.cli.options import add_checkpoint, add_load_options, add_max_new_tokens, load_options, ros_name
from lisa_ros.cli.parsing import CommandParser
from lisa_ros.cli.segment import EMBEDDED_NOTE
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter

if TYPE_CHECKING:
    from lisa_ros.bags.commands import BagCommand
    from lisa_ros.bags.run import Progress, Summary


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser: CommandParser = commands.add_parser("bag", help="answer commands about a recorded bag (rosbag2)")
    parser.add_argument("source", type=Path, metavar="IN", help="a rosbag2 folder, or one of its .mcap or .db3 files")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the bag with the answers; must not exist")
    parser.add_argument("--image", required=True, metavar="TOPIC", help="topic of the camera, raw or compressed")
    parser.add_argument(
        "--depth",
        default="",
        metavar="TOPIC",
        help="topic of depth that is registered to the image; gives 3-D positions",
    )
    parser.add_argument("--camera-info", default="", metavar="TOPIC", help="topic of the camera's intrinsics")
    parser.add_argument(
        "--command",
        action="append",
        dest="asked",
        default=[],
        metavar="TEXT",
        help="time, operator and text, such as '12.5s operator1: the red mug'; repeatable",
    )
    parser.add_argument("--commands", type=Path, metavar="FILE", help="a file with one such command per line")
    parser.add_argument(
        "--prefix", type=_prefix, default="/lisa", help="beginning of the topics in OUT (default: %(default)s)"
    )
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="file format of OUT (default: %(default)s)"
    )
    parser.add_argument("--compress", action="store_true", help="compress OUT with zstd")
    parser.add_argument("--video", type=Path, metavar="FILE", help="also write an .mp4 of the camera with the answers")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write an .html page with all answers")
    parser.add_argument(
        "--foxglove",
        action="store_true",
        help="also write annotations and scene for Foxglove; config/foxglove.json is a layout for OUT",
    )
    parser.add_argument(
        "--image-rectified", action="store_true", help="the images are rectified: use P of camera_info, not K and D"
    )
    parser.add_argument(
        "--grip",
        choices=("none", "centroid", "top_plane", "antipodal"),
        default="top_plane",
        help="how the point to grip is computed, as the node's parameter (default: %(default)s)",
    )
    add_checkpoint(parser)
    add_load_options(parser)
    add_max_new_tokens(parser)
    parser.set_defaults(run=run)


def _prefix(text: str) -> str:
    """An argument's type: a ROS name; "/" is no prefix."""
    return ros_name(text.rstrip("/")) if text.strip("/") else ""


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.bags.answering import AnswerSettings
    from lisa_ros.bags.frames import Topics
    from lisa_ros.bags.run import BagJob, run_bag

    load = load_options(options)
    job = BagJob(
        options.source,
        options.output,
        Topics(options.image, options.depth, options.camera_info),
        _commands(options),
        AnswerSettings(options.max_new_tokens, image_rectified=options.image_rectified, grip=options.grip),
        f"{options.checkpoint} {load}",
        options.prefix,
        options.storage,
        options.compress,
        options.video,
        options.report,
        options.foxglove,
    )
    if options.checkpoint == embedded_checkpoint():
        print(EMBEDDED_NOTE, file=sys.stderr)
    try:
        summary = run_bag(job, lambda: load_segmenter(options.checkpoint, load), _show)
    except KeyboardInterrupt:
        print("\nlisa bag: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    _print(summary, options)
    return 0


def _commands(options: argparse.Namespace) -> list[BagCommand]:
    from lisa_ros.bags.commands import parse_command, read_commands

    asked = [parse_command(line) for line in options.asked]
    return asked + (read_commands(options.commands) if options.commands else [])


def _show(progress: Progress) -> None:
    """A line on stderr: how far, how long still where that can be estimated, and each answer."""
    line = f"{100 * progress.done:3.0f} %"
    if progress.left_s is not None:
        line += f", {progress.left_s:.0f} s left"
    if progress.answer is not None:
        answer = progress.answer
        line += f" | {answer.command.time_s:.12g} s {answer.command.operator}: {answer.command.text} -> {answer.status}"
    print(line, file=sys.stderr, flush=True)


def _print(summary: Summary, options: argparse.Namespace) -> None:
    for problem in summary.problems:
        print(f"warning: {problem}", file=sys.stderr)
    counts = {status: summary.statuses.count(status) for status in dict.fromkeys(summary.statuses)}
    shown = ", ".join(f"{count} {status}" for status, count in counts.items())
    resumed = f"; {summary.resumed} from the interrupted run" if summary.resumed else ""
    print(f"commands: {len(summary.statuses)} ({shown}{resumed})")
    print(f"{summary.bag_s:.1f} s of recording in {summary.took_s:.1f} s")
    print("written: " + ", ".join(str(one) for one in (options.output, options.video, options.report) if one))
