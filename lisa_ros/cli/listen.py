# SPDX-License-Identifier: Apache-2.0
"""`lisa listen`: shows what the speech recogniser hears, from a microphone or a WAV file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.parsing import Condition, without
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.errors import LisaError


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("listen", help="show what the speech recogniser hears")
    parser.add_argument("--wav", type=Path, metavar="FILE", help="a WAV file (PCM) instead of the microphone")
    parser.add_argument(
        "--device", default="", applies=without("wav"), help="microphone: part of its name, its number, or `list`"
    )
    parser.add_argument("--json", action="store_true", help="print each utterance as a line of JSON")
    parser.add_argument(
        "--asr-model",
        default="",
        metavar="MODEL",
        help="speech model: folder or Hugging Face id (default: Moonshine Tiny)",
    )
    parser.add_argument(
        "--asr-language", default="", metavar="LANGUAGE", help="language of a multilingual model, for example de"
    )
    parser.add_argument(
        "--asr-device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        applies=Condition("with --asr-model: the built-in recogniser runs on the CPU", lambda one: bool(one.asr_model)),
        help="auto: the GPU where there is one (default: auto)",
    )
    parser.add_argument(
        "--wake-phrase",
        default="",
        metavar="PHRASE",
        help="phrase that commands begin with (default: none, every utterance is a command)",
    )
    parser.add_argument(
        "--vocabulary",
        type=Path,
        action="append",
        metavar="FILE",
        help="file of words and phrases, a line each; repeatable",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=embedded_checkpoint(),
        help="checkpoint folder whose vocabulary.txt is used, if it has one (default: the embedded model)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.speech.extra import SpeechError, missing_package

    try:
        from lisa_ros.speech.terminal import listen

        return listen(options)
    except ModuleNotFoundError as error:
        raise LisaError(missing_package(error)) from error
    except SpeechError as error:
        raise LisaError(str(error)) from error
