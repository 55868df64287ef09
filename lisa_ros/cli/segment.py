# SPDX-License-Identifier: Apache-2.0
"""`lisa segment`: finds in an image what a sentence asks for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import add_model_options, load_options
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import ANSWER_KINDS


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("segment", help="find in an image what a sentence asks for")
    parser.add_argument("--image", type=Path, required=True, help="any file OpenCV reads")
    parser.add_argument("--text", action="append", required=True, help="what to find; again for a second turn")
    parser.add_argument(
        "--reference",
        action=AddReference,
        dest="references",
        metavar="TURN|FILE",
        help="what the --text before it refers to (SegLLM): an earlier turn, from 1, or a mask's PNG; repeatable",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for result.json, masks and overlays")
    parser.add_argument("--answer", choices=ANSWER_KINDS, default="full", help="mask_only: one mask and no text")
    parser.add_argument("--json", action="store_true", help="print result.json")
    parser.add_argument("--refined", action="store_true", help="LIRA: each object's second mask, too")
    parser.add_argument("--attributes", action="store_true", help="LIRA: the likeliest words at each object")
    add_model_options(parser)
    parser.set_defaults(run=run)


class AddReference(argparse.Action):
    """Adds to what the last `--text` before it refers to: place of the text -> turns and mask files."""

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
        place = len(namespace.text) - 1
        chosen[place] = (*chosen.get(place, ()), int(values) if values.isdecimal() else Path(values))
        setattr(namespace, self.dest, chosen)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    from lisa_ros.segmentation.image_files import read_image, read_mask
    from lisa_ros.segmentation.result_files import segment_image

    image = read_image(options.image)
    references = {
        place: [read_mask(one) if isinstance(one, Path) else one for one in meant]
        for place, meant in (options.references or {}).items()
    }
    segmenter = load_segmenter(options.checkpoint, load_options(options))
    result = segment_image(
        segmenter, image, options.text, options.output, options.max_new_tokens, options.answer, references
    )
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _print_turns(result["turns"], options.output)
    return 0


def _print_turns(turns: list[dict[str, Any]], output: Path) -> None:
    from lisa_ros.segmentation.text import number_symbol

    for turn in turns:
        shown = f" (shown: {', '.join(map(str, turn['references']))})" if turn["references"] else ""
        print(f"> {turn['text']}{shown}\n{turn['explanation'] or turn['answer']}")
        for number, mask in enumerate(turn["masks"], start=1):
            place = "around ({:.0f}, {:.0f})".format(*mask["centroid"]) if mask["pixels"] else "(an empty mask)"
            score = "" if mask["score"] is None else f", score {mask['score']:.2f}"
            name = f"{mask['phrase']}, " if "phrase" in mask else ""
            print(f"  {number_symbol(number)} {name}{mask['pixels']} pixels {place}{score}: {output / mask['file']}")
