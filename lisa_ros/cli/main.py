# SPDX-License-Identifier: Apache-2.0
"""The `lisa` command: parses its arguments and runs one subcommand. It needs no ROS."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lisa_ros import __version__
from lisa_ros.cli import (
    bag,
    benchmark,
    calibrate,
    chat,
    check,
    console,
    convert,
    data,
    doctor,
    download,
    evaluate,
    finetune,
    forget,
    listen,
    policy,
    segment,
    serve,
    train,
    verify,
)
from lisa_ros.cli.parsing import CommandParser, Commands
from lisa_ros.models.common.checkpoints.hub import find_folder
from lisa_ros.segmentation.errors import LisaError, sentence_of

_SUBCOMMANDS = (
    segment,
    chat,
    console,
    listen,
    bag,
    serve,
    evaluate,
    calibrate,
    benchmark,
    train,
    finetune,
    data,
    convert,
    check,
    verify,
    download,
    forget,
    policy,
    doctor,
)
"""Modules with `add(commands)`, which adds the subcommand's parser. None imports torch before its command runs."""

_INTERRUPTED = 130
"""Exit status after Ctrl-C."""
_BROKEN_PIPE = 141
"""Exit status that a shell reports for SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        the exit status: 0; 1, the work was done but a part of it failed; 2, the user can correct it (one sentence on
        stderr); 130 after Ctrl-C; 141, what reads the output has ended.
    """
    # OpenMP's threads spin while they wait for each other, which makes a small network many times slower beside other
    # work; torch reads this when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_closed_streams()
    _show_warnings()
    options = _parser().parse_args(arguments)
    try:
        options.parser.check(options)  # finding a checkpoint can be a download
        _find_checkpoint(options)
        options.parser.check(options)  # some options depend on the model that the checkpoint holds
        ended = int(options.run(options))
        sys.stdout.flush()
    except BrokenPipeError:  # the program that reads the output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at its end
        return _BROKEN_PIPE
    except (LisaError, OSError) as error:  # any other exception is a fault of the software: its traceback is shown
        print(f"lisa {options.command}: {sentence_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "; the same command resumes" if getattr(options, "resumes", False) else ""
        print(f"lisa {options.command}: interrupted{again}", file=sys.stderr)
        ended = _INTERRUPTED
    if ended == _INTERRUPTED and arguments is None:  # the process ends now
        _end_at_the_next_interrupt()
    return ended


def _end_at_the_next_interrupt() -> None:
    """From now on, Ctrl-C ends the process at once.

    torch's clean-up at the end of the process takes seconds, and a second Ctrl-C in it would print a traceback.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Opens the streams that were closed before the program began (`>&-`): Python has None for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  as long as the program runs


class _LogLine(logging.Formatter):
    """Lines such as "WARN: text". logging.addLevelName would rename the level in the whole process."""

    def format(self, record: logging.LogRecord) -> str:
        level = "WARN" if record.levelno == logging.WARNING else record.levelname
        return f"{level}: {super().format(record)}"


def _show_warnings() -> None:
    """Writes the package's own log lines to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogLine())
    logging.getLogger("lisa_ros").handlers = [handler]


def _find_checkpoint(options: argparse.Namespace) -> None:
    """Replaces what names a checkpoint, `~/folder` or a Hugging Face id, by its folder."""
    for name in ("checkpoint", "source") if options.command == "convert" else ("checkpoint",):
        if (given := getattr(options, name, None)) is not None:
            setattr(options, name, find_folder(given))


def _parser() -> argparse.ArgumentParser:
    description = "Reasoning segmentation for robots: a command in plain language names objects in an image."
    parser = argparse.ArgumentParser(prog="lisa", description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=CommandParser, action=Commands
    )
    for subcommand in _SUBCOMMANDS:
        subcommand.add(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
