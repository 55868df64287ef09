# SPDX-License-Identifier: Apache-2.0
"""`lisa segment`: finds the objects in an image that a command describes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_ros import __version__
from lisa_ros.cli.options import (
    add_checkpoint,
    add_fusion_scales,
    add_load_options,
    add_max_new_tokens,
    load_options,
    of_models,
)
from lisa_ros.cli.parsing import CommandParser, with_value
from lisa_ros.models.loading import description_of, embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import ANSWER_KINDS
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.text import score_text

if TYPE_CHECKING:
    from lisa_ros.models.common.options import LoadOptions
    from lisa_ros.segmentation.answers import Reference
    from lisa_ros.segmentation.files.result_files import Origin

EMBEDDED_NOTE = (
    "note: this is the embedded demonstration model: it knows only the objects of the simulated table, understands "
    "English only, and marks at most two objects per command; name another with --checkpoint"
)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser: CommandParser = commands.add_parser("segment", help="find the objects in an image that a command describes")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="any format that OpenCV reads")
    parser.add_argument(
        "--text",
        type=_text,
        action="append",
        required=True,
        help="the command; repeatable: the turns of one dialogue",
    )
    parser.add_argument(
        "--reference",
        action=AddReference,
        dest="references",
        metavar="TURN|FILE",
        applies=of_models("references"),
        help="what the --text before it refers to: the number of an earlier turn, from 1, or a mask's PNG; repeatable",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for result.json, masks and overlays; those of an earlier run are replaced",
    )
    parser.add_argument("--answer", choices=ANSWER_KINDS, default="full", help="mask_only: one mask and no text")
    parser.add_argument("--json", action="store_true", help="print result.json instead of a summary")
    parser.add_argument(
        "--refined",
        dest="refine",
        action="store_true",
        applies=of_models("refine"),
        help="LIRA: each object's second mask, too",
    )
    parser.add_argument(
        "--attributes",
        action="store_true",
        applies=of_models("attributes"),
        help="LIRA: the likeliest words per object",
    )
    parser.add_argument(
        "--explicit-references",
        action="store_true",
        applies=of_models("explicit_references"),
        help='SegLLM: words such as "it" choose no earlier masks',
    )
    add_checkpoint(parser)
    add_load_options(parser)
    add_fusion_scales(parser)
    add_max_new_tokens(parser, with_value("answer", "full"))
    parser.set_defaults(run=run)


def _text(text: str) -> str:
    """An argument's type: refused before the model is loaded, which refuses it, too."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the text is empty; say what to look for")
    return text


class AddReference(argparse.Action):
    """Adds to what the last `--text` before it refers to: index of the text -> turn numbers and mask files."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """See argparse.Action."""
        if not namespace.text:
            parser.error("--reference says what a --text refers to, and stands after it")
        chosen = dict(getattr(namespace, self.dest) or {})
        index = len(namespace.text) - 1
        chosen[index] = (*chosen.get(index, ()), int(values) if values.isdecimal() else Path(values))
        setattr(namespace, self.dest, chosen)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.segmentation.files.image_files import read_image
    from lisa_ros.segmentation.files.output_folders import make_output_folder
    from lisa_ros.segmentation.files.result_files import segment_image

    references = _references(options)
    image = read_image(options.image)
    make_output_folder(options.output)
    from lisa_ros.models.common.resolved_options import resolved_options  # imports torch, which takes seconds

    if options.checkpoint == embedded_checkpoint():
        print(EMBEDDED_NOTE, file=sys.stderr)
    load = resolved_options(options.checkpoint, load_options(options))
    segmenter = load_segmenter(options.checkpoint, load)
    result = segment_image(
        segmenter,
        image,
        options.text,
        options.output,
        options.max_new_tokens,
        options.answer,
        references,
        _origin(options, load),
    )
    print(json.dumps(result, indent=2) if options.json else summary(result, options.output))
    return 0


def _origin(options: argparse.Namespace, load: LoadOptions) -> Origin:
    from lisa_ros.segmentation.files.result_files import Origin

    return Origin(
        str(options.image),
        description_of(options.checkpoint).title,
        str(options.checkpoint),
        load.precision,
        load.quantization,
        load.device,
        __version__,
    )


def _references(options: argparse.Namespace) -> dict[int, list[Reference]]:
    """What each text refers to, by its index from 0: earlier turns and masks."""
    from lisa_ros.segmentation.files.image_files import read_mask

    return {
        index: [read_mask(one) if isinstance(one, Path) else _earlier(one, index) for one in meant]
        for index, meant in (options.references or {}).items()
    }


def _earlier(turn: int, index: int) -> int:
    if not 1 <= turn <= index:
        earlier = "there is no earlier turn" if not index else f"there are turns 1 to {index}"
        raise LisaError(f"--reference {turn}: turn {index + 1} can refer to earlier turns alone, and {earlier}")
    return turn


def summary(result: dict[str, Any], output: Path) -> str:
    """The result for a terminal.

    Args:
        result: what result.json holds.
        output: the folder that it lies in.
    """
    from lisa_ros.segmentation.text import number_symbol

    image = result["image"]
    lines = [
        f"model: {result['model']} {result['checkpoint']} ({result['precision']}, quantization "
        f"{result['quantization']}, {result['device']})",
        f"image: {image['file']}, {image['width']} x {image['height']} pixels",
    ]
    for number, turn in enumerate(result["turns"], start=1):
        shown = f" (refers to turn {', '.join(map(str, turn['references']))})" if turn["references"] else ""
        lines += [f"turn {number}: {turn['text']}{shown}", f"  answer: {turn['explanation'] or turn['answer']}"]
        lines += [f"  note: {turn['note']}"] if "note" in turn else []
        lines += [f"  {number_symbol(i)} {_object(mask, output)}" for i, mask in enumerate(turn["masks"], start=1)]
        lines.append(f"  time: {_times(turn['timing_ms'])}; overlay: {output / turn['overlay']}")
    return "\n".join([*lines, f"files: {output}/ (result.json, masks and overlays)"])


def _object(mask: dict[str, Any], output: Path) -> str:
    where = "pixel ({:.0f}, {:.0f})".format(*mask["centroid"]) if mask["pixels"] else "empty mask"
    name = f"{mask['phrase']}, " if "phrase" in mask else ""
    return f"{name}{mask['pixels']} pixels, {where}{_score(mask)}: {output / mask['file']}"


def _score(mask: dict[str, Any]) -> str:
    return "" if mask["score"] is None else f", {score_text(mask['score'], mask['score_calibrated'])}"


def _times(timing_ms: dict[str, float | None]) -> str:
    first = timing_ms["first_mask"]
    return f"{'' if first is None else f'first mask {first:.0f} ms, '}total {timing_ms['total']:.0f} ms"
