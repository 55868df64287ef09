# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share. Imports no torch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lisa_ros.cli.parsing import CommandParser, Condition, with_value
from lisa_ros.models.common.options import (
    DEVICES,
    MEASURED_THREADS,
    MODELS_WITH,
    MOST_THREADS,
    PRECISIONS,
    QUANTIZATIONS,
    REFINEMENTS,
    SEGMENTERS,
    TEMPLATES,
    TITLES,
    LoadOptions,
)
from lisa_ros.models.loading import description_of, embedded_checkpoint
from lisa_ros.segmentation.files.arguments import at_least, given_text

whole_number, count, thread_number = at_least(1), at_least(0), at_least(1, MOST_THREADS)

_ROS_NAME = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


def ros_name(text: str) -> str:
    """An argument's type: the full name of a node or topic; "lisa" is "/lisa"."""
    name = f"/{text.removeprefix('/')}"
    if not _ROS_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a ROS name; expected is one such as /lisa or /front/lisa, of letters, digits and _"
        )
    return name


def _threads(text: str) -> int:
    """An argument's type: auto, or 1 or more."""
    return MEASURED_THREADS if text == "auto" else thread_number(text)


def of_models(option: str) -> Condition:
    """The condition of an option that only some models have, see models.common.options.MODELS_WITH.

    Args:
        option: its name in LoadOptions.
    """
    models = MODELS_WITH[option]
    return Condition(
        f"to {' and '.join(TITLES[one] for one in models)}",
        # A folder without config.json is refused by its loader, which says more.
        lambda options: _unknown(options.checkpoint) or description_of(options.checkpoint).name in models,
        lambda options: f"{options.checkpoint} holds {description_of(options.checkpoint).title}",
    )


def _unknown(checkpoint: Path | None) -> bool:
    return checkpoint is None or not (checkpoint / "config.json").is_file()


def add_checkpoint(parser: CommandParser, help_text: str = "the model", *, required: bool = False) -> None:
    """Adds --checkpoint.

    Args:
        parser: of the subcommand.
        help_text: what the checkpoint is to the subcommand.
        required: False: the embedded model where none is named.
    """
    default = "" if required else "; default: the embedded model"
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=required,
        default=None if required else embedded_checkpoint(),
        metavar="FOLDER|ID",
        help=f"{help_text} (folder or Hugging Face id{default})",
    )


def add_vision_tower(parser: CommandParser, applies: Condition | None = None) -> None:
    """Adds --vision-tower."""
    parser.add_argument(
        "--vision-tower",
        type=given_text,
        metavar="FOLDER|ID",
        applies=applies or (),
        help="CLIP (default: the one that the checkpoint's config.json names)",
    )


def add_load_options(parser: CommandParser) -> None:
    """Adds the options of every subcommand that loads a model, but --checkpoint; `load_options` reads them."""
    defaults = LoadOptions()
    add_vision_tower(parser, of_models("vision_tower"))
    parser.add_argument(
        "--template",
        choices=TEMPLATES,
        default=defaults.template,
        applies=of_models("template"),
        help="conversation template that the checkpoint was trained with (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=defaults.precision,
        help="auto: fp32 on a CPU; on a GPU fp16 with quantized weights, else bf16",
    )
    parser.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        default=defaults.quantization,
        help="auto: as `lisa convert` wrote the checkpoint, else none",
    )
    parser.add_argument("--device", choices=DEVICES, default=defaults.device, help="auto: the GPU where there is one")
    parser.add_argument(
        "--cache-mib",
        type=count,
        default=defaults.cache_mib,
        help="memory for cached prompts (KV cache), MiB (default: 1024, on a GPU at most 5 %% of its memory)",
    )
    parser.add_argument(
        "--memory-limit-mib",
        type=count,
        default=defaults.memory_limit_mib,
        help="memory for all KV caches together, MiB; 0: no limit (default: none on a CPU, 20 %% of a GPU's memory)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same answer to the last bit, whatever was answered before or at the same time; slower",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="auto|N",
        help="CPU threads; auto: the fastest number, measured once the model is loaded (default: torch's own number)",
    )
    parser.add_argument(
        "--model-option",
        dest="model_options",
        action="append",
        metavar="NAME=VALUE",
        help="an option that only the checkpoint's own model has, see docs/models.md; repeatable",
    )
    _add_second_models(parser, defaults)


def _add_second_models(parser: CommandParser, defaults: LoadOptions) -> None:
    """Adds the options of models/combined."""
    parser.add_argument(
        "--refine",
        dest="refine_masks",
        choices=REFINEMENTS,
        default=defaults.refine_masks,
        help="sam2: SAM 2 makes each mask finer (default: %(default)s)",
    )
    parser.add_argument(
        "--refine-checkpoint",
        type=given_text,
        metavar="FOLDER|ID",
        applies=with_value("refine_masks", "sam2", text="with --refine sam2", positional=True),
        default=defaults.refine_checkpoint,
        help="SAM 2 for --refine (default: %(default)s)",
    )
    parser.add_argument(
        "--segmenter",
        choices=SEGMENTERS,
        default=defaults.segmenter,
        help="auto: commands that only name objects go to SAM 3, all others to the checkpoint (default: %(default)s)",
    )
    parser.add_argument(
        "--names-checkpoint",
        type=given_text,
        metavar="FOLDER|ID",
        applies=with_value("segmenter", "auto"),
        default=defaults.names_checkpoint,
        help="SAM 3 for --segmenter auto (default: %(default)s)",
    )


def add_max_new_tokens(parser: CommandParser, applies: Condition | Sequence[Condition] = ()) -> None:
    """Adds --max-new-tokens."""
    parser.add_argument(
        "--max-new-tokens",
        type=whole_number,
        default=512,
        applies=applies,
        help="maximum length of an answer, tokens (default: %(default)s)",
    )


def add_fusion_scales(parser: CommandParser) -> None:
    """Adds --fusion-scales."""
    parser.add_argument(
        "--fusion-scales",
        type=given_text,
        metavar="FILE",
        applies=of_models("fusion_scales"),
        help="SegLLM: gamma_v and gamma_l from HIPIE's r50_parts.pth instead of the checkpoint's",
    )


def load_options(options: argparse.Namespace) -> LoadOptions:
    """What `add_load_options` and the model's own options parsed; what a subcommand does not offer is the default."""
    defaults = LoadOptions()
    chosen = {name: getattr(options, name, value) for name, value in asdict(defaults).items()}
    return LoadOptions(**{**chosen, "model_options": tuple(chosen["model_options"] or ())})
