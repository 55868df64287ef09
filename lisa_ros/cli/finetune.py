# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune`: trains a checkpoint on your own images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.models.common.options import DEVICES, TEMPLATES, LoadOptions
from lisa_ros.training.finetune.options import (
    PRECISIONS,
    QUANTIZATIONS,
    RECOMPUTE,
    WHOLE_PARTS,
    FinetuneOptions,
    LoraOptions,
)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("finetune", help="train a checkpoint on your own images")
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.training.finetune.run import finetune

    finetune(finetune_options(options))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `finetune_options` reads."""
    start = FinetuneOptions(Path(), (), Path())
    shown = "(default: %(default)s)"
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER", help="the LISA to begin with")
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="FOLDER", help="in ReasonSeg's format")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="to write; new, or empty")
    parser.add_argument("--validation", type=Path, metavar="FOLDER", help="as --data; gIoU on it before and after")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for states and logs (default: OUTPUT.work)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=start.epochs, help=f"how often each picture comes {shown}")
    length.add_argument("--steps", type=int, help="of the optimizer, instead of epochs")
    parser.add_argument("--batch", type=int, default=start.batch, help=f"pictures at once {shown}")
    parser.add_argument("--accumulate", type=int, default=start.accumulate, help=f"batches in a step {shown}")
    parser.add_argument("--questions", type=int, default=start.questions, help=f"about a picture, at most {shown}")
    parser.add_argument("--learning-rate", type=float, default=start.learning_rate, help=f"the highest {shown}")
    parser.add_argument("--seed", type=int, default=start.seed, help=f"of all chance {shown}")
    parser.add_argument("--save-every", type=int, default=start.save_every, help=f"steps between states {shown}")
    _add_model_arguments(parser, start, shown)


def _add_model_arguments(parser: argparse.ArgumentParser, start: FinetuneOptions, shown: str) -> None:
    lora, load = start.lora, start.load
    parser.add_argument("--rank", type=int, default=lora.rank, help=f"of LoRA; 0: without {shown}")
    parser.add_argument("--alpha", type=int, default=lora.alpha, help=f"of LoRA {shown}")
    parser.add_argument("--dropout", type=float, default=lora.dropout, help=f"of LoRA {shown}")
    parser.add_argument(
        "--targets", nargs="+", default=lora.targets, metavar="LAYER", help="of LLaMA that get LoRA (q_proj v_proj)"
    )
    parser.add_argument(
        "--freeze", nargs="+", default=(), choices=tuple(WHOLE_PARTS), help="is trained whole unless named here"
    )
    parser.add_argument(
        "--quantization", choices=QUANTIZATIONS, default=load.quantization, help="of the frozen base; auto: none"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default=load.precision, help="auto: CPU fp32, GPU bf16")
    parser.add_argument("--device", choices=DEVICES, default=load.device)
    parser.add_argument("--template", choices=TEMPLATES, default=load.template, help=shown)
    parser.add_argument("--vision-tower", metavar="FOLDER", help="CLIP, where config.json's is not the one")
    parser.add_argument("--recompute", choices=RECOMPUTE, default=start.recompute, help="saves memory, takes time")


def finetune_options(arguments: argparse.Namespace) -> FinetuneOptions:
    """What `add_arguments` parsed, not checked yet."""
    told = vars(arguments)
    load = {key: told[key] for key in ("template", "precision", "quantization", "device", "vision_tower")}
    same = ("checkpoint", "output", "validation", "work", "steps", "epochs", "batch", "accumulate", "questions")
    return FinetuneOptions(
        **{key: told[key] for key in (*same, "learning_rate", "seed", "save_every", "recompute")},
        data=tuple(arguments.data),
        frozen=tuple(arguments.freeze),
        lora=LoraOptions(arguments.rank, arguments.alpha, arguments.dropout, tuple(arguments.targets)),
        load=LoadOptions(**load),
    )
