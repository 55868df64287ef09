# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share. Imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.evaluation.options import DATASETS, PHRASINGS
from lisa_ros.models.common.options import DEVICES, MEASURED_THREADS, PRECISIONS, QUANTIZATIONS, TEMPLATES, LoadOptions
from lisa_ros.models.loading import embedded_checkpoint


def whole_number(text: str) -> int:
    """An argument's type: 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def count(text: str) -> int:
    """An argument's type: 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _threads(text: str) -> int:
    """An argument's type: auto, or 1 or more."""
    return MEASURED_THREADS if text == "auto" else whole_number(text)


def add_vision_tower(parser: argparse.ArgumentParser) -> None:
    """Adds --vision-tower."""
    parser.add_argument("--vision-tower", help="the CLIP folder, where config.json's is not the one")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every subcommand that loads a model; `load_options` reads them."""
    defaults = LoadOptions()
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=embedded_checkpoint(),
        help="folder or Hugging Face id (default: the embedded LISA)",
    )
    add_vision_tower(parser)
    parser.add_argument("--template", choices=TEMPLATES, default=defaults.template, help="(default: %(default)s)")
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
    parser.add_argument("--device", choices=DEVICES, default=defaults.device)
    parser.add_argument(
        "--cache-mib",
        type=count,
        default=defaults.cache_mib,
        help="memory for cached prompts (KV cache), MiB (default: 1024, on a GPU at most 5 %% of its memory)",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="auto|N",
        help="CPU threads; auto: the fastest number, measured once the model is loaded (default: as torch has it)",
    )
    parser.add_argument(
        "--max-new-tokens", type=whole_number, default=512, help="longest answer, tokens (default: %(default)s)"
    )
    parser.add_argument(
        "--fusion-scales", metavar="FILE", help="SegLLM: take gamma_v and gamma_l from HIPIE's r50_parts.pth instead"
    )
    parser.add_argument(
        "--explicit-references", action="store_true", help='SegLLM: words such as "it" choose no earlier masks'
    )


def load_options(options: argparse.Namespace) -> LoadOptions:
    """What `add_model_options` parsed."""
    return LoadOptions(
        template=options.template,
        precision=options.precision,
        quantization=options.quantization,
        device=options.device,
        vision_tower=options.vision_tower,
        cache_mib=options.cache_mib,
        threads=options.threads,
        fusion_scales=options.fusion_scales,
        explicit_references=options.explicit_references,
        refine=getattr(options, "refined", False),  # only `segment` offers it, and the next
        attributes=getattr(options, "attributes", False),
    )


def add_questions(parser: argparse.ArgumentParser) -> None:
    """Adds what a data set's questions are taken from, and where results are written; `asked` reads it."""
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the data set's folder")
    parser.add_argument("--split", default="val", help="(default: %(default)s)")
    parser.add_argument("--partition", help="of RefCOCO's family: unc, umd, google (default: the usual one)")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of images, where it is not in the usual place")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="for results; a rerun resumes there"
    )
    parser.add_argument("--limit", type=whole_number, help="only the first so many images or dialogues")
    parser.add_argument("--phrasing", choices=PHRASINGS, help="how questions are put (default: the data set's way)")


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_questions` and `add_model_options` parsed, as arguments of Evaluation and of Calibrating."""
    from lisa_ros.datasets.catalogue import Source

    return {
        "dataset": options.dataset,
        "source": Source(options.data, options.split, options.partition, options.images),
        "output": options.output,
        "checkpoint": options.checkpoint,
        "options": load_options(options),
        "max_new_tokens": options.max_new_tokens,
        "limit": options.limit,
        "phrasing": options.phrasing,
    }
