# SPDX-License-Identifier: Apache-2.0
"""How well a checkpoint answers questions about simulated tables it has never seen.

`python -m lisa_ros.evaluation.tabletop` prints gIoU by family of question. Each question is put as an operator would
put it, and the answer is generated; an answer without `[SEG]` is an empty mask. gIoU is the mean of the questions' IoU;
where nothing is meant, an empty mask counts 1 (arXiv 2308.00692, section 4.1).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lisa_ros.cli import add_model_options, load_options
from lisa_ros.dialogue import Turn
from lisa_ros.evaluation.metrics import intersection_over_union
from lisa_ros.geometry import union
from lisa_ros.segmenter import Finished, Segmenter, load_segmenter
from lisa_ros.simulation.scene import View
from lisa_ros.training.questions import WEIGHTS, Question, conversation, true_mask
from lisa_ros.training.scenes import SPLITS, ViewCache, render_views


@dataclass(frozen=True)
class Judged:
    """One question with its answer and IoU, and whether the answer named anything."""

    question: Question
    answer: str
    iou: float
    named: bool


def judge(
    segmenter: Segmenter,
    views: Iterable[View],
    seed: int,
    *,
    turns: int = 1,
    held_out: bool = False,
    weights: Mapping[str, float] = WEIGHTS,
    max_new_tokens: int = 512,
) -> list[Judged]:
    """Holds a dialogue about every view and judges each answer.

    Args:
        segmenter: the model.
        views: with truth.
        seed: source of the questions.
        turns: questions in each dialogue; the model's own answers are its history.
        held_out: ask in phrasings that training never used.
        weights: share of each family, see questions.conversation.
        max_new_tokens: longest answer.
    """
    rng = np.random.default_rng(seed)
    judged = []
    for view in views:
        frame, history = segmenter.look(view.rgb), list[Turn]()
        for question in conversation(view, rng, turns, held_out, weights=weights):
            *_, finished = segmenter.session(frame, history).segment(question.text, max_new_tokens=max_new_tokens)
            if not isinstance(finished, Finished):
                raise RuntimeError("the model's events ended without Finished")
            height, width = view.instances.shape
            found = union((named.mask for named in finished.objects), (height, width))
            iou = intersection_over_union(found, true_mask(view, question))
            judged.append(Judged(question, finished.answer, iou, bool(finished.objects)))
            history.append(Turn(question.text, finished.answer, finished.objects))
    return judged


def table(judged: Sequence[Judged]) -> str:
    """A Markdown table: gIoU by family, and how often something was named."""
    lines = ["| family | questions | gIoU | named something |", "|---|---|---|---|"]
    present = [one for one in judged if one.question.instances]
    absent = [one for one in judged if not one.question.instances]
    rows = [(family, [one for one in present if one.question.family == family]) for family in WEIGHTS]
    for family, group in [*rows, ("absent", absent)]:
        if group:
            giou, named = np.mean([one.iou for one in group]), np.mean([one.named for one in group])
            lines.append(f"| {family} | {len(group)} | {giou:.3f} | {named:.1%} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders held-out views where there are none yet, asks, and prints the table."""
    parser = argparse.ArgumentParser(prog="lisa_ros.evaluation.tabletop", description=__doc__.splitlines()[0])
    parser.add_argument("--views", type=int, default=300, help="how many (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="questions about each (default: %(default)s)")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--held-out", action="store_true", help="phrasings that training never used")
    parser.add_argument("--cache", type=Path, default=Path(".cache/tabletop"), help="where views are kept")
    add_model_options(parser)
    options = parser.parse_args(arguments)
    folder = options.cache / options.split
    render_views(SPLITS[options.split], options.views, cache=folder, workers=2)
    cache = ViewCache(folder, options.views)
    segmenter = load_segmenter(options.checkpoint, load_options(options))
    views = (cache[i] for i in tqdm(range(len(cache)), desc="views", disable=None))
    judged = judge(
        segmenter,
        views,
        seed=0,
        turns=options.turns,
        held_out=options.held_out,
        max_new_tokens=options.max_new_tokens,
    )
    print(table(judged))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
