# SPDX-License-Identifier: Apache-2.0
"""The `lisa` command. It needs no ROS."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lisa_ros import __version__
from lisa_ros.benchmark.options import AGAINST, NODE_PARTS, SHAPES, BenchmarkOptions, NodeBenchmarkOptions
from lisa_ros.evaluation.options import DATASETS, PHRASINGS, PROTOCOLS, REFERENCES
from lisa_ros.models.options import CONVERTED_TO, DEVICES, PRECISIONS, QUANTIZATIONS, TEMPLATES, LoadOptions
from lisa_ros.segmenter import ANSWER_KINDS, CommandError, embedded_checkpoint, load_segmenter
from lisa_ros.training.finetune_options import add_finetune_arguments, finetune_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        the exit status: 0, 2 for what the user can mend (said in one line), 130 after Ctrl-C.
    """
    # OpenMP's threads spin while they wait for each other, which makes a small network many times slower beside other
    # work; torch reads this when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "train":  # a recipe has options of its own
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.run(options))
    except (CommandError, ValueError, OSError) as error:
        print(f"lisa: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lisa", description="Point at things in plain language.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_segment(commands)
    _add_evaluate(commands)
    _add_calibrate(commands)
    _add_benchmark(commands)
    train = commands.add_parser("train", help="make the embedded model anew from its recipe", add_help=False)
    train.add_argument("--recipe", choices=("tabletop",), default="tabletop")
    train.set_defaults(run=_train)
    finetune = commands.add_parser("finetune", help="teach a checkpoint from your own pictures")
    add_finetune_arguments(finetune)
    finetune.set_defaults(run=_finetune)
    _add_convert(commands)
    _add_check(commands)
    return parser


def _add_segment(commands: Any) -> None:
    parser = commands.add_parser("segment", help="find in a picture what a sentence asks for")
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
    parser.add_argument("--answer", choices=ANSWER_KINDS, default="full", help="mask_only: one mask and no words")
    parser.add_argument("--json", action="store_true", help="print result.json")
    parser.add_argument("--refined", action="store_true", help="LIRA: each object's second mask, too")
    parser.add_argument("--attributes", action="store_true", help="LIRA: the words that it inclines to at each object")
    add_model_options(parser)
    parser.set_defaults(run=_segment)


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


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="measure a checkpoint on a published data set")
    _add_questions(parser)
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument(
        "--answer", choices=ANSWER_KINDS, default="full", help="of generate: all, or one mask, no words"
    )
    parser.add_argument("--union", action="store_true", help="judge all masks of an answer together, not the first")
    parser.add_argument(
        "--references",
        choices=REFERENCES,
        default="own",
        help="what a model is shown of the rounds that a round refers to: its own masks, the true ones, none",
    )
    parser.add_argument("--all-texts", action="store_true", help="ask every text of a picture, not the first alone")
    parser.add_argument("--pictures", type=_count, default=60, help="shown in the report (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(run=_evaluate)


def _add_calibrate(commands: Any) -> None:
    parser = commands.add_parser("calibrate", help="fit the masks' scores of a checkpoint to a data set's truth")
    _add_questions(parser)
    add_model_options(parser)
    parser.set_defaults(run=_calibrate)


def _add_questions(parser: argparse.ArgumentParser) -> None:
    """What is asked, and where it is written what came of it."""
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the data set lies")
    parser.add_argument("--split", default="val", help="(default: %(default)s)")
    parser.add_argument("--partition", help="of RefCOCO's family: unc, umd, google (default: the usual one)")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of pictures, where it is not in the usual place")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="for results; goes on there")
    parser.add_argument("--limit", type=_whole_number, help="only the first so many pictures or dialogues")
    parser.add_argument("--phrasing", choices=PHRASINGS, help="how questions are put (default: the data set's way)")


def _add_convert(commands: Any) -> None:
    parser = commands.add_parser("convert", help="make one folder that loads fast of a checkpoint, quantized or not")
    parser.add_argument(
        "source", type=Path, metavar="SRC", help="as released: LISA's or SegLLM's folder, LIRA's pieces"
    )
    parser.add_argument("output", type=Path, metavar="DST", help="folder to write; new, or empty; goes on there")
    parser.add_argument("--quantization", choices=CONVERTED_TO, default="4bit", help="(default: %(default)s)")
    parser.add_argument("--vision-tower", help="the CLIP folder, where config.json's is not the one")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="that quantizes (default: %(default)s)")
    parser.set_defaults(run=_convert)


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check", help="tell whether a checkpoint would load; SegLLM's index file alone will do"
    )
    parser.add_argument("checkpoint", type=Path, metavar="FOLDER", help="the checkpoint, or just its index in a folder")
    parser.add_argument("--vision-tower", help="the CLIP folder, where config.json's is not the one")
    parser.set_defaults(run=_check)


def _add_benchmark(commands: Any) -> None:
    parser = commands.add_parser("benchmark", help="measure how fast a model, or the node, answers")
    parser.add_argument(
        "what",
        choices=("model", "node"),
        nargs="?",
        default="model",
        help="node: lisa_node over ROS 2 (default: model)",
    )
    parser.add_argument("--parts", choices=NODE_PARTS, nargs="+", default=NODE_PARTS, help="of the node (default: all)")
    parser.add_argument("--shape", choices=SHAPES, default="embedded", help="(default: %(default)s)")
    parser.add_argument("--against", choices=AGAINST, help="also compute that way, and tell the ratios")
    parser.add_argument("--repeats", type=_whole_number, default=3, help="rounds; medians are told (default: 3)")
    parser.add_argument("--tokens", type=_tokens, default=64, help="of the answer that is timed (default: 64)")
    parser.add_argument("--memory-cap-gib", type=float, help="GPU memory that may be used")
    parser.add_argument("--output", type=Path, help="(default: benchmark.json, of the node benchmark_node.json)")
    add_model_options(parser)
    parser.set_defaults(run=_benchmark, checkpoint=None)


def _tokens(text: str) -> int:
    if not text.isdecimal() or int(text) < 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 4 or more")
    return int(text)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command shares which loads a model."""
    defaults = LoadOptions()
    parser.add_argument(
        "--checkpoint", type=Path, default=embedded_checkpoint(), help="a model's folder (default: the embedded LISA)"
    )
    parser.add_argument("--vision-tower", help="the CLIP folder, where config.json's is not the one")
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
        type=_count,
        default=defaults.cache_mib,
        help="memory for what LLaMA has read (default: 1024, on a GPU at most 5 %% of its memory)",
    )
    parser.add_argument(
        "--max-new-tokens", type=_whole_number, default=512, help="longest answer (default: %(default)s)"
    )
    parser.add_argument(
        "--fusion-scales", metavar="FILE", help="SegLLM: take gamma_v and gamma_l from HIPIE's r50_parts.pth instead"
    )
    parser.add_argument(
        "--explicit-references", action="store_true", help='SegLLM: words such as "it" choose no earlier masks'
    )


def _whole_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def load_options(options: argparse.Namespace) -> LoadOptions:
    """What `add_model_options` parsed."""
    return LoadOptions(
        template=options.template,
        precision=options.precision,
        quantization=options.quantization,
        device=options.device,
        vision_tower=options.vision_tower,
        cache_mib=options.cache_mib,
        fusion_scales=options.fusion_scales,
        explicit_references=options.explicit_references,
        refine=getattr(options, "refined", False),  # only `segment` offers it, and the next
        attributes=getattr(options, "attributes", False),
    )


def _train(options: argparse.Namespace) -> int:
    from lisa_ros.training import recipe

    return recipe.main(options.rest)


def _finetune(options: argparse.Namespace) -> int:
    from lisa_ros.finetuning import finetune

    finetune(finetune_options(options))
    return 0


def _convert(options: argparse.Namespace) -> int:
    from lisa_ros.converting import Conversion, convert

    convert(Conversion(options.source, options.output, options.quantization, options.vision_tower, options.device))
    return 0


def _check(options: argparse.Namespace) -> int:
    from lisa_ros.checking import check_checkpoint

    return 0 if check_checkpoint(options.checkpoint, options.vision_tower) else 1


def _segment(options: argparse.Namespace) -> int:
    from lisa_ros.segmenting import read_image, read_mask, segment_image

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
        return 0
    for turn in result["turns"]:
        shown = f" (shown: {', '.join(map(str, turn['references']))})" if turn["references"] else ""
        print(f"> {turn['text']}{shown}\n{turn['answer']}")
        for mask in turn["masks"]:
            place = "around ({:.0f}, {:.0f})".format(*mask["centroid"]) if mask["pixels"] else "(an empty mask)"
            score = "" if mask["score"] is None else f", score {mask['score']:.2f}"
            name = f"{mask['phrase']}, " if "phrase" in mask else ""
            print(f"  {name}{mask['pixels']} pixels {place}{score}: {options.output / mask['file']}")
    return 0


def _benchmark(options: argparse.Namespace) -> int:
    if options.what == "node":
        return _benchmark_node(options)
    from lisa_ros.benchmarking import run_benchmark

    run_benchmark(
        BenchmarkOptions(
            shape=options.shape,
            checkpoint=options.checkpoint,
            load=load_options(options),
            repeats=options.repeats,
            against=options.against,
            tokens=options.tokens,
            output=options.output or Path("benchmark.json"),
            memory_cap_gib=options.memory_cap_gib,
        )
    )
    return 0


def _benchmark_node(options: argparse.Namespace) -> int:
    try:
        from lisa_ros.nodes.benchmark.run import DemoError, run_node_benchmark
    except ModuleNotFoundError as error:
        raise ValueError(f"to measure the node, ROS 2 must be sourced and the package built ({error})") from error
    asked = NodeBenchmarkOptions(
        parts=tuple(options.parts),
        checkpoint=options.checkpoint,
        load=load_options(options),
    )
    try:
        run_node_benchmark(asked if options.output is None else replace(asked, output=options.output))
    except DemoError as error:
        raise ValueError(str(error)) from error
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from lisa_ros.datasets.catalogue import Source
    from lisa_ros.evaluating import Evaluation, run_evaluation

    return run_evaluation(
        Evaluation(
            dataset=options.dataset,
            source=Source(options.data, options.split, options.partition, options.images),
            protocol=options.protocol,
            output=options.output,
            checkpoint=options.checkpoint,
            options=load_options(options),
            max_new_tokens=options.max_new_tokens,
            limit=options.limit,
            phrasing=options.phrasing,
            rule="union" if options.union else "first",
            references=options.references,
            all_texts=options.all_texts,
            pictures=options.pictures,
            answer=options.answer,
        )
    )


def _calibrate(options: argparse.Namespace) -> int:
    from lisa_ros.calibrating import Calibrating, calibrate
    from lisa_ros.datasets.catalogue import Source

    return calibrate(
        Calibrating(
            dataset=options.dataset,
            source=Source(options.data, options.split, options.partition, options.images),
            output=options.output,
            checkpoint=options.checkpoint,
            options=load_options(options),
            max_new_tokens=options.max_new_tokens,
            limit=options.limit,
            phrasing=options.phrasing,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
