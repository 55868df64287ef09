# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune`: trains a checkpoint on your own images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import add_checkpoint, add_vision_tower
from lisa_ros.cli.parsing import CommandParser, Condition
from lisa_ros.models.common.options import DEVICES, TEMPLATES, LoadOptions
from lisa_ros.segmentation.files.arguments import given_text
from lisa_ros.training.finetune.options import (
    CHECK_IMAGES,
    LINEAR_LAYERS,
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
    "Train a checkpoint on your own images. A model that is fine-tuned on few images forgets much of what it could do: "
    "mix general examples in with --replay, and measure the effect with --check."
)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("finetune", help="train a checkpoint on your own images", description=_DESCRIPTION)
    add_arguments(parser)
    parser.set_defaults(run=run, resumes=True)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.training.finetune.run import finetune

    finetune(finetune_options(options))
    return 0


def add_arguments(parser: CommandParser) -> None:
    """Adds the arguments that `finetune_options` reads."""
    add_checkpoint(parser, "the LISA checkpoint to start from", required=True)
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
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="checkpoint folder to write; new, or empty"
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="FOLDER",
        help="images as for --data; their gIoU is measured before and after",
    )
    parser.add_argument(
        "--replay",
        type=given_text,
        default="auto",
        metavar="DATASET[:SHARE]",
        help="general examples that are mixed in, so that the model does not forget: tabletop, a folder as --data, or "
        f"NAME=FOLDER of a published data set; SHARE of each batch (default {REPLAY_SHARE}). none: without. "
        "auto: tabletop for the embedded model, else none (default: auto)",
    )
    parser.add_argument(
        "--check",
        type=given_text,
        dest="check_data",
        default="auto",
        metavar="DATASET[:IMAGES]",
        help="general questions for an evaluation before and after, named as for --replay; number of IMAGES "
        f"(default {CHECK_IMAGES}). none: without. auto: as for --replay (default: auto)",
    )
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="folder of saved states and logs (default: OUTPUT.work)"
    )


def _add_schedule(parser: CommandParser) -> None:
    start = FinetuneOptions(Path(), (), Path())
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=start.epochs, help=f"passes over the images {_DEFAULT}")
    length.add_argument("--steps", type=int, help="optimizer steps, instead of --epochs")
    parser.add_argument("--batch", type=int, default=start.batch, help=f"images in a batch {_DEFAULT}")
    parser.add_argument(
        "--accumulate", type=int, default=start.accumulate, help=f"batches of an optimizer step {_DEFAULT}"
    )
    parser.add_argument(
        "--questions",
        type=int,
        default=start.questions,
        help=f"maximum number of questions about an image in a step {_DEFAULT}",
    )
    parser.add_argument(
        "--learning-rate", type=float, default=start.learning_rate, help=f"peak learning rate {_DEFAULT}"
    )
    parser.add_argument("--seed", type=int, default=start.seed, help=f"seed of all random numbers {_DEFAULT}")
    parser.add_argument(
        "--save-every", type=int, default=start.save_every, help=f"steps between two saved states {_DEFAULT}"
    )


def _add_model(parser: CommandParser) -> None:
    lora, load = LoraOptions(), LoadOptions()
    parser.add_argument("--rank", type=int, default=lora.rank, help=f"rank of LoRA; 0: no LoRA {_DEFAULT}")
    parser.add_argument("--alpha", type=int, default=lora.alpha, applies=_ADAPTED, help=f"alpha of LoRA {_DEFAULT}")
    parser.add_argument(
        "--dropout", type=float, default=lora.dropout, applies=_ADAPTED, help=f"dropout of LoRA {_DEFAULT}"
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        default=lora.targets,
        choices=LINEAR_LAYERS,
        metavar="LAYER",
        applies=_ADAPTED,
        help=f"LLaMA layers with LoRA: {', '.join(LINEAR_LAYERS)} (default: q_proj v_proj)",
    )
    parser.add_argument(
        "--freeze",
        nargs="+",
        default=(),
        choices=tuple(WHOLE_PARTS),
        help="parts that are not trained (default: all are trained)",
    )
    parser.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        default=load.quantization,
        help="quantization of the frozen weights; auto: none",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=load.precision,
        help="precision of the frozen weights; auto: fp32 on a CPU, bf16 on a GPU",
    )
    parser.add_argument("--device", choices=DEVICES, default=load.device, help="auto: the GPU, if there is one")
    parser.add_argument(
        "--template", choices=TEMPLATES, default=load.template, help=f"conversation template {_DEFAULT}"
    )
    add_vision_tower(parser)
    parser.add_argument(
        "--recompute",
        choices=RECOMPUTE,
        default="auto",
        help="recompute activations in the backward pass: less memory, more time; auto: on a GPU",
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
