# SPDX-License-Identifier: Apache-2.0
"""What a data set holds and what looks wrong in it, before hours of training: what `lisa data check` prints."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from tqdm import tqdm

from lisa_ros.datasets.loading import load_image
from lisa_ros.datasets.reason_seg import PaintedTruth
from lisa_ros.datasets.samples import Round, Sample, Truth, check_size

SMALL_SHARE, SMALL_PIXELS = 0.0005, 16
"""A mask below either of them counts as an outlier: share of the image, pixels."""
LARGE_SHARE = 0.9
LONG_TEXT_WORDS = 40


@dataclass(frozen=True)
class Question:
    """One question of an image that could be read.

    Attributes:
        sample: the image.
        round: the question.
        area: share of the image that the mask covers, 0 to 1.
        remark: what looks wrong; empty: nothing.
    """

    sample: Sample
    round: Round
    area: float
    remark: str = ""


@dataclass
class Inspection:
    """A data set, counted.

    Attributes:
        images: that could be read.
        questions: about them.
        problems: what cannot be used, a sentence each.
        sizes: (width, height) in pixels -> images.
        texts: questions of each image.
        absent: questions whose object is absent.
        cut: shapes that reach outside their image.
        duplicates: names of images with the same pixels.
        contradictions: texts that are asked twice about one image, with different masks.
    """

    images: int = 0
    questions: list[Question] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    texts: list[int] = field(default_factory=list)
    absent: int = 0
    cut: int = 0
    duplicates: list[list[str]] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)

    @property
    def outliers(self) -> list[Question]:
        """The questions with a remark."""
        return [one for one in self.questions if one.remark]

    def lines(self, shown: int = 10) -> Iterator[str]:
        """The counts for a terminal, at most `shown` examples of each kind of trouble."""
        yield f"images: {self.images}, sizes in pixels: {self._sizes(shown)}"
        yield f"questions: {len(self.questions)}, {self.absent} of them about absent objects"
        yield f"questions of an image: {_spread(self.texts)}"
        areas = [100 * one.area for one in self.questions if one.area > 0]
        yield f"masks: {len(areas)}, share of the image in %: {_spread(areas)}"
        yield f"shapes that reach outside their image, and are cut: {self.cut}"
        yield from _listed("images that are the same", [", ".join(names) for names in self.duplicates], shown)
        yield from _listed("texts with two different masks in one image", self.contradictions, shown)
        outliers = [f"{one.sample.name}, {one.round.text!r}: {one.remark}" for one in self.outliers]
        yield from _listed("outliers", outliers, shown)
        yield from _listed("problems", self.problems, shown)

    def _sizes(self, shown: int) -> str:
        common = self.sizes.most_common(shown)
        more = f", {len(self.sizes) - len(common)} others" if len(self.sizes) > len(common) else ""
        return ", ".join(f"{width} x {height} ({count})" for (width, height), count in common) + more or "none"


def inspect(samples: Sequence[Sample]) -> Inspection:
    """Reads every image and mask once, and counts."""
    found = Inspection()
    pixels: dict[str, list[str]] = defaultdict(list)
    for sample in tqdm(samples, desc="reading images", unit="image", disable=None, leave=False):
        if sample.problem is not None:
            found.problems.append(sample.problem)
            continue
        try:
            image = load_image(sample.image)
            _count(sample, (image.shape[0], image.shape[1]), found)
        except (ValueError, OSError) as error:
            found.problems.append(str(error) if sample.name in str(error) else f"{sample.name}: {error}")
            continue
        found.images += 1
        found.sizes[image.shape[1], image.shape[0]] += 1
        found.texts.append(len(sample.rounds))
        pixels[hashlib.sha256(image.tobytes() + repr(image.shape).encode()).hexdigest()].append(sample.name)
    found.duplicates = [names for names in pixels.values() if len(names) > 1]
    return found


def _count(sample: Sample, size: tuple[int, int], found: Inspection) -> None:
    """Adds a sample's questions; nothing is added where one of them cannot be read."""
    truths: dict[int, Truth] = {}
    questions, contradictions = [], []
    for asked in sample.rounds:
        if id(asked.truth) not in truths:
            truths[id(asked.truth)] = asked.truth()
        truth = truths[id(asked.truth)]
        check_size(sample.name, truth, size)
        questions.append(_question(sample, asked, truth))
    if not sample.dialogue:
        contradictions = _contradictions(sample, truths)
    found.questions += questions
    found.contradictions += contradictions
    found.absent += sum(one.area == 0 for one in questions)
    painted = {id(asked.truth): asked.truth for asked in sample.rounds if isinstance(asked.truth, PaintedTruth)}
    found.cut += len({shape.number for truth in painted.values() for shape in truth.cut_shapes()})


def _question(sample: Sample, asked: Round, truth: Truth) -> Question:
    pixels = int(np.count_nonzero(truth == 1))
    area = pixels / truth.size
    remarks = []
    if pixels and (area < SMALL_SHARE or pixels < SMALL_PIXELS):
        remarks.append(f"a mask of {pixels} pixels")
    if area > LARGE_SHARE:
        remarks.append(f"the mask covers {area:.0%} of the image")
    if len(asked.text.split()) > LONG_TEXT_WORDS:
        remarks.append(f"a text of {len(asked.text.split())} words")
    return Question(sample, asked, area, "; ".join(remarks))


def _contradictions(sample: Sample, truths: dict[int, Truth]) -> list[str]:
    by_text: dict[str, list[Truth]] = defaultdict(list)
    for asked in sample.rounds:
        by_text[asked.text.strip().lower()].append(truths[id(asked.truth)])
    return [
        f"{sample.name}, {text!r}"
        for text, masks in by_text.items()
        if any(not np.array_equal(masks[0], other) for other in masks[1:])
    ]


def _spread(values: Sequence[float]) -> str:
    """Smallest, median and largest."""
    return f"{min(values):.3g} / {median(values):.3g} / {max(values):.3g} (min / median / max)" if values else "none"


def _listed(title: str, found: Sequence[str], shown: int) -> Iterator[str]:
    yield f"{title}: {len(found)}"
    yield from (f"  {one}" for one in found[:shown])
    if len(found) > shown:
        yield f"  and {len(found) - shown} more"
