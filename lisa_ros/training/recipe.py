# SPDX-License-Identifier: Apache-2.0
"""The recipe of the embedded LISA: `python -m lisa_ros.training.recipe`, or `lisa train`.

LISA builds on a pretrained CLIP, SAM and LLaMA; here the parts are trained in the same order, from random weights and
the simulator alone:

1. render: views of the plain and of randomized tables, with truth;
2. sam_pretraining: SAM learns labels, and masks of codes (codes.py);
3. clip_pretraining: CLIP learns labels and hints (hints.py);
4. text_pretraining: LLaMA learns the dialogues without images, and to give the code of the object that is meant;
5. hint_grounding: LLaMA learns on hints to find what is named, while CLIP cannot show it anything yet;
6. alignment: LLaMA learns the dialogues on images, CLIP's hints in place of the simulator's;
7. joint: everything together, through masks;
8. hard_negatives: LLaMA and SAM's decoder once more, on many follow-ups about absent objects;
9. rebalancing: the same with about as many absent objects as evaluation has;
10. other_object: from the mean of the last three, LLaMA learns on hints what "the other one" means (other_object.py);
11. joint_a and joint_b: as rebalancing, with some of these pairs; they differ by their random numbers alone;
12. clip_randomized and sam_randomized: CLIP and SAM learn randomized tables (domain randomization);
13. language_randomized: LLaMA and the projector learn all ways to ask, about randomized tables, without masks;
14. joint_randomized: CLIP and LLaMA together on randomized tables, with all ways to ask;
15. randomized_a and randomized_b: LLaMA and SAM's decoder, through masks; they differ by their random numbers alone;
16. export: the mean of both, and the classifier that finds the region of the objects, as a checkpoint folder.

The stages on randomized tables are shown the region of the objects alone, as the node shows it to the model
(models/lisa/image/object_region.py).

Stages 2, 3 and 4 with 5 are independent of each other, as are the two of 12 and of 15: they may run at the same time
(`--stages`). Every stage resumes where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from lisa_ros.models.common.checkpoints.configuration import check_folder
from lisa_ros.models.common.options import MOST_THREADS
from lisa_ros.segmentation.errors import LisaError, sentence_of
from lisa_ros.segmentation.files.arguments import at_least, given_path, number
from lisa_ros.segmentation.files.output_folders import check_output_folder, make_output_folder
from lisa_ros.training.pipeline import Pipeline
from lisa_ros.training.recipe_settings import SCHEDULES, STAGES, Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the recipe's stages."""
    chosen = _parse(arguments)
    torch.set_num_threads(chosen.threads)
    recipe = _recipe(chosen)
    try:
        _check_folders(recipe, chosen.stages)
        pipeline = Pipeline(recipe)
        for stage in STAGES:
            if stage in chosen.stages:
                getattr(pipeline, stage)()
    except BrokenPipeError:  # what reads the output has ended
        raise
    except (LisaError, OSError) as error:  # such as a full disk
        print(f"lisa train: {sentence_of(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command resumes from the last saved step", file=sys.stderr)
        return 130
    return 0


def _check_folders(recipe: Recipe, stages: Sequence[str]) -> None:
    """Before the first stage: the last one writes after days of work.

    Raises:
        LisaError: a folder cannot be used.
    """
    make_output_folder(recipe.work)
    if "export" in stages:
        check_output_folder(recipe.output)
    if recipe.start is not None:
        check_folder(recipe.start, "--start")


class _Parser(argparse.ArgumentParser):
    """Ends with one sentence, as the other subcommands do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See `{self.prog} --help`.\n")


def _recipe(chosen: argparse.Namespace) -> Recipe:
    schedules = tuple(
        (stage, dataclasses.replace(SCHEDULES[stage], steps=steps)) for stage, steps in chosen.steps or ()
    )
    return Recipe(
        views=chosen.views,
        work=chosen.work,
        output=chosen.output,
        seed=chosen.seed,
        train_views=chosen.train_views,
        randomized_views=chosen.randomized_views,
        schedules=schedules,
        start=chosen.start,
        start_share=chosen.start_share,
        all_combinations=chosen.all_combinations,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    defaults = Recipe()
    parser = _Parser(
        prog="lisa train",
        description="Train the embedded model from the beginning, in stages that resume where they were stopped.",
        allow_abbrev=False,
    )
    parser.register("type", Path, given_path)  # of every argument with type=Path
    parser.add_argument(
        "--recipe", choices=("tabletop",), default="tabletop", help="what to train: tabletop, the embedded model"
    )
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), help="the stages to run (default: all)"
    )
    parser.add_argument(
        "--views", type=Path, default=defaults.views, help="folder of rendered views (default: %(default)s)"
    )
    parser.add_argument(
        "--work", type=Path, default=defaults.work, help="folder for states and logs (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=defaults.output, help="the checkpoint folder to write (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=at_least(1, MOST_THREADS), default=2, help="CPU threads (default: %(default)s)"
    )
    parser.add_argument("--seed", type=at_least(0), default=defaults.seed, help="seed of all random numbers")
    parser.add_argument(
        "--train-views",
        type=at_least(1),
        default=defaults.train_views,
        help="number of views of the plain table (default: %(default)s)",
    )
    parser.add_argument(
        "--randomized-views",
        type=at_least(1),
        default=defaults.randomized_views,
        help="number of views of randomized tables (default: %(default)s)",
    )
    parser.add_argument("--start", type=Path, help="checkpoint folder that the randomized stages start from")
    parser.add_argument(
        "--start-share",
        type=number(0, "a number from 0 to 1", most=1),
        default=defaults.start_share,
        help="share of the weights before the randomized stages in the exported ones, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--all-combinations",
        action="store_true",
        help="also learn the combinations that are otherwise reserved for evaluation; needs views of its own (--views)",
    )
    parser.add_argument(
        "--steps", nargs="+", type=_steps, metavar="STAGE=N", help="steps of some stages, instead of the recipe's"
    )
    return parser.parse_args(arguments)


def _steps(text: str) -> tuple[str, int]:
    stage, _, steps = text.partition("=")
    if stage not in SCHEDULES:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not STAGE=N with a stage that learns and 1 step or more")
    return stage, at_least(1)(steps)


if __name__ == "__main__":
    raise SystemExit(main())
