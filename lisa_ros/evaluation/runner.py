# SPDX-License-Identifier: Apache-2.0
"""Asks a model the questions of a data set, and scores the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.datasets.loading import load_image
from lisa_ros.datasets.masks import encode_mask
from lisa_ros.datasets.samples import Round, Sample, Truth
from lisa_ros.evaluation.items import Item, ItemLog, Key
from lisa_ros.evaluation.metrics import Box, box_around, boxes_iou, overlap
from lisa_ros.evaluation.protocols import Asking, Reply
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.turns import Turn


def keys_of(samples: Sequence[Sample], variant: str = "") -> Iterator[Key]:
    """The keys of all items of an evaluation of these samples; a damaged sample has one."""
    for sample in samples:
        for number in range(1, max(1, len(sample.rounds)) + 1):
            yield variant, sample.name, number


def unfinished(samples: Sequence[Sample], log: ItemLog, variant: str = "") -> list[Sample]:
    """The samples that still have a question to ask."""
    return [one for one in samples if not all(log.has_result(key) for key in keys_of([one], variant))]


def evaluate(
    samples: Sequence[Sample],
    segmenter: Segmenter,
    ask: Asking,
    log: ItemLog,
    *,
    rule: str = "first",
    variant: str = "",
    title: str = "images",
) -> None:
    """Asks and scores each question that is not in the log yet, and adds it to the log at once.

    A sample that cannot be read, or a question that cannot be asked, becomes an item with the reason; the run goes on.

    Args:
        samples: images with their questions.
        segmenter: encodes the images.
        ask: asks it a question.
        log: the items of earlier runs; new ones are added.
        rule: one of options.MASK_RULES.
        variant: for the items.
        title: of the progress bar.
    """
    left = unfinished(samples, log, variant)
    done = [item.iou for key in keys_of(samples, variant) if (item := log.items.get(key)) and item.failed is None]
    total, count = sum(done), len(done)
    bar = tqdm(left, desc=variant or title, unit="image", disable=None, total=len(samples))
    bar.update(len(samples) - len(left))
    for sample in bar:
        for item in _evaluate_sample(sample, segmenter, ask, log, rule, variant):
            log.append(item)
            if item.failed is None:
                total, count = total + item.iou, count + 1
        bar.set_postfix_str(f"gIoU {total / count:.3f}" if count else "")


def _evaluate_sample(
    sample: Sample, segmenter: Segmenter, ask: Asking, log: ItemLog, rule: str, variant: str
) -> Iterator[Item]:
    """Items of one sample: those that are missing or, since a turn needs the ones before, a whole dialogue."""
    blanks = [_blank(sample, number, variant) for number in range(1, max(1, len(sample.rounds)) + 1)]
    try:
        if sample.problem is not None or not sample.rounds:
            raise ValueError(sample.problem or "it has no question")
        image = load_image(sample.image)
        encoded = segmenter.encode(image)
    except (ValueError, OSError) as error:
        yield from (_failed(blank, error) for blank in blanks)
        return
    turns: list[Turn] = []
    for asked, blank in zip(sample.rounds, blanks, strict=True):
        if not sample.dialogue and log.has_result(blank.key):
            continue
        try:
            numbers = {turn.number for turn in turns}  # a round that failed is no turn
            meant = tuple(number for number in asked.references if number in numbers)
            reply = ask(encoded, replace(asked, references=meant), turns if sample.dialogue else ())
        except ValueError as error:
            yield _failed(blank, error)
            continue
        turns.append(replace(reply.turn, number=blank.round))
        yield _answered(replace(blank, model=reply.model or segmenter.name), reply, asked, image, rule)
    encoded.release()


def _blank(sample: Sample, number: int, variant: str) -> Item:
    image = str(sample.image) if isinstance(sample.image, Path) and sample.problem is None else ""
    item = Item(sample.name, number, variant=variant, dialogue=sample.dialogue, image=image)
    if number > len(sample.rounds):
        return item
    asked = sample.rounds[number - 1]
    return replace(item, group=asked.group, tags=asked.tags, text=asked.text, expected=asked.answer)


def _said(reply: Reply, wanted: str | None) -> bool | None:
    return wanted.lower() in reply.turn.answer.lower() if wanted is not None and reply.worded else None


def _answered(blank: Item, reply: Reply, asked: Round, image: NDArray[np.uint8], rule: str) -> Item:
    size: tuple[int, int] = (image.shape[0], image.shape[1])
    score, evidence = reply.score(rule)
    item = replace(
        blank,
        asked=reply.turn.command,
        answer=reply.turn.answer,
        said=_said(reply, asked.must_say),
        masks=len(reply.masks),
        cut=reply.cut,
        size=size,
        score=score,
        score_calibrated=reply.score_calibrated,
        evidence=evidence,
        seconds=reply.seconds,
    )
    try:
        truth = asked.truth()
        return _scored(item, reply.mask(rule, size), truth, reply.box)
    except (ValueError, OSError) as error:
        return _failed(item, error)


def _scored(item: Item, found: NDArray[np.bool_], truth: Truth, box: Box | None) -> Item:
    both = overlap(found, truth)
    true = truth == 1
    true_pixels = int(np.count_nonzero(true))
    return replace(
        item,
        intersection=both.intersection,
        union=both.union,
        iou=both.iou,
        box_iou=boxes_iou(box or box_around(found), box_around(true)) if true_pixels else None,
        found_pixels=int(np.count_nonzero(found)),
        true_pixels=true_pixels,
        found=encode_mask(found),
    )


def _failed(item: Item, error: Exception) -> Item:
    return replace(item, failed=str(error) or type(error).__name__)
