# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune`: trains a checkpoint on your own images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import add_checkpoint
from lisa_ros.cli.parsing import CommandParser, Condition
from lisa_ros.models.common.options import DEVICES, TEMPLATES, LoadOptions
from lisa_ros.training.finetune.options import (
    CHECK_IMAGES,
    PRECISIONS,
    QUANTIZATIONS,
    RECOMPUTE,
    REPLAY_SHARE,
    WHOLE_PARTS,
    FinetuneOptions,
    LoraOptions,
)

_DEFAULT = "(default: %(default)s)"

_ADAPTED = Condition("with LoRA", lambda options: options.rank != 0, lambda options: f"--rank is {options.rank}")

_DESCRIPTION = (
    "Train a checkpoint on your own images. A model that learns from few images alone forgets the rest of what it "
    "knew: mix general examples in with --replay, and measure it with --check."
)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("finetune", help="train a checkpoint on your own images", description=_DESCRIPTION)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.training.finetune.run import finetune

    finetune(finetune_options(options))
    return 0


def add_arguments(parser: CommandParser) -> None:
    """Adds the arguments that `finetune_options` reads."""
    add_checkpoint(parser, "the LISA to begin with", required=True)
    _add_data(parser)
    _add_schedule(parser)
    _add_model(parser)


def _add_data(parser: CommandParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+",
        metavar="FOLDER",
        help="images with masks, in any format of `lisa data`",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="to write; new, or empty")
    parser.add_argument("--validation", type=Path, metavar="FOLDER", help="as --data; gIoU on it before and after")
    parser.add_argument(
        "--replay",
        default="auto",
        metavar="DATASET[:SHARE]",
        help="general examples that are mixed in, so that the model does not forget: tabletop, a folder as --data, or "
        f"NAME=FOLDER of a published data set; SHARE of each batch (default {REPLAY_SHARE}). none: without. "
        "auto: tabletop for the embedded model, else none (default: auto)",
    )
    parser.add_argument(
        "--check",
        dest="check_data",
        default="auto",
        metavar="DATASET[:IMAGES]",
        help="general questions that are judged before and after, named as for --replay; so many IMAGES of it "
        f"(default {CHECK_IMAGES}). none: without. auto: as for --replay (default: auto)",
    )
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for states and logs (default: OUTPUT.work)")


def _add_schedule(parser: CommandParser) -> None:
    start = FinetuneOptions(Path(), (), Path())
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=start.epochs, help=f"passes over the images {_DEFAULT}")
    length.add_argument("--steps", type=int, help="of the optimizer, instead of epochs")
    parser.add_argument("--batch", type=int, default=start.batch, help=f"images at once {_DEFAULT}")
    parser.add_argument("--accumulate", type=int, default=start.accumulate, help=f"batches in a step {_DEFAULT}")
    parser.add_argument("--questions", type=int, default=start.questions, help=f"at most, about an image {_DEFAULT}")
    parser.add_argument("--learning-rate", type=float, default=start.learning_rate, help=f"the highest {_DEFAULT}")
    parser.add_argument("--seed", type=int, default=start.seed, help=f"of all random numbers {_DEFAULT}")
    parser.add_argument("--save-every", type=int, default=start.save_every, help=f"steps between states {_DEFAULT}")


def _add_model(parser: CommandParser) -> None:
    lora, load = LoraOptions(), LoadOptions()
    parser.add_argument("--rank", type=int, default=lora.rank, help=f"of LoRA; 0: without {_DEFAULT}")
    parser.add_argument("--alpha", type=int, default=lora.alpha, applies=_ADAPTED, help=f"of LoRA {_DEFAULT}")
    parser.add_argument("--dropout", type=float, default=lora.dropout, applies=_ADAPTED, help=f"of LoRA {_DEFAULT}")
    parser.add_argument(
        "--targets",
        nargs="+",
        default=lora.targets,
        metavar="LAYER",
        applies=_ADAPTED,
        help="layers of LLaMA that get LoRA (default: q_proj v_proj)",
    )
    parser.add_argument(
        "--freeze", nargs="+", default=(), choices=tuple(WHOLE_PARTS), help="parts that are not trained; else they are"
    )
    parser.add_argument(
        "--quantization", choices=QUANTIZATIONS, default=load.quantization, help="of the frozen base; auto: none"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default=load.precision, help="auto: CPU fp32, GPU bf16")
    parser.add_argument("--device", choices=DEVICES, default=load.device, help="auto: the GPU where there is one")
    parser.add_argument("--template", choices=TEMPLATES, default=load.template, help=_DEFAULT)
    parser.add_argument(
        "--vision-tower", metavar="FOLDER|ID", help="CLIP (default: the one that the checkpoint's config.json names)"
    )
    parser.add_argument(
        "--recompute", choices=RECOMPUTE, default="auto", help="of activations: saves memory, takes time; auto: GPU"
    )


def finetune_options(arguments: argparse.Namespace) -> FinetuneOptions:
    """What `add_arguments` parsed, not checked yet."""
    given = vars(arguments)
    load = {key: given[key] for key in ("template", "precision", "quantization", "device", "vision_tower")}
    same = ("checkpoint", "output", "validation", "replay", "check_data", "work", "steps", "epochs", "batch")
    more = ("accumulate", "questions", "learning_rate", "seed", "save_every", "recompute")
    return FinetuneOptions(
        **{key: given[key] for key in (*same, *more)},
        data=tuple(arguments.data),
        frozen=tuple(arguments.freeze),
        lora=LoraOptions(arguments.rank, arguments.alpha, arguments.dropout, tuple(arguments.targets)),
        load=LoadOptions(**load),
    )
