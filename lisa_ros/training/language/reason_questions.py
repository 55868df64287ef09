# SPDX-License-Identifier: Apache-2.0
"""What is asked about the images of a ReasonSeg-format data set, and the answers to learn.

As upstream's training set (dvlab-research/LISA at 3cb2d43, utils/reason_seg_dataset.py) does it:

* a few texts of an image at a time, each in a conversation of its own;
* a noun phrase is put, in small letters, into a question, a sentence is followed by the wish for a mask;
* the answer is one of five that hold one `[SEG]`;
* an image with an explanation is answered with `[SEG]` alone, with `[SEG]` and the explanation where one was asked
  for, or, seldom, asked without the wish for a mask and answered with the explanation alone.

Differently:

* a text without a single true pixel (`"shapes": []`) is answered without `[SEG]`, with the explanation where there is
  one, so that a model can learn to say that something is not there;
* noun phrases, and sentences about images without an explanation, are at times asked just as they stand, which is
  what a robot's operators type;
* every image comes equally often, while upstream draws them;
* a dialogue is one conversation, its turns asked and answered as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lisa_ros.datasets.reason_seg import SEG
from lisa_ros.datasets.samples import Round, Sample, Truth

PHRASE_QUESTIONS = (
    "What is {text} in this image? Please output segmentation mask.",
    "Please segment {text}.",
    "Where is {text}? Please show it with a segmentation mask.",
    "{text}",
)
SENTENCE_QUESTIONS = (
    "{text} Please output segmentation mask.",
    "{text} Please answer with a segmentation mask.",
)
BARE_SENTENCE = "{text}"
REASON_QUESTIONS = (
    "{text} Please output segmentation mask and say why.",
    "{text} Please output segmentation mask with your reasons.",
)
ANSWERS = (
    "It is [SEG].",
    "Sure, [SEG].",
    "Sure, it is [SEG].",
    "Sure, the segmentation result is [SEG].",
    "[SEG].",
)

NOTHING_THERE = "There is no such thing in this image."

EXPLANATION_ALONE = 0.1
"""How often an image with an explanation is asked for that alone."""


@dataclass(frozen=True)
class Exchange:
    """One question with the answer to learn.

    Attributes:
        question: as it is put.
        answer: without control texts but one `[SEG]`, where there is a mask.
        truth: makes the mask of that `[SEG]`; None where there is none.
    """

    question: str
    answer: str
    truth: Callable[[], Truth] | None


@dataclass(frozen=True)
class AskedImage:
    """An image with what is asked about it in one batch."""

    sample: Sample
    exchanges: tuple[Exchange, ...]

    @property
    def conversations(self) -> list[list[tuple[str, str]]]:
        """Questions with their answers, those of a dialogue in one conversation, others each in its own."""
        said = [(exchange.question, exchange.answer) for exchange in self.exchanges]
        return [said] if self.sample.dialogue else [[one] for one in said]


class Curriculum:
    """Which images and questions each batch has: the same for the same seed and number, in every run."""

    def __init__(
        self,
        samples: Sequence[Sample],
        seed: int,
        batch: int,
        questions: int,
        plain: Callable[[str], str],
        replay: Sequence[Sample] = (),
        share: float = 0.0,
    ) -> None:
        """Asks nothing yet.

        Args:
            samples: all usable, one or more.
            seed: of all random numbers.
            batch: images in a batch.
            questions: the most that are asked about an image at once.
            plain: makes plain words of a text of the data set, in which control texts may stand.
            replay: further samples that are mixed in, all usable.
            share: of the images that are replayed, 0 to below 1; spread evenly over the batches.
        """
        self._samples, self._seed, self._batch, self._questions = samples, seed, batch, questions
        self._plain, self._replay, self._share = plain, replay, share if replay else 0.0
        self._empty: dict[int, bool] = {}

    def __call__(self, number: int) -> list[AskedImage]:
        """The batch of this number, from 0."""
        rng = np.random.default_rng([self._seed, 1, number])
        places = range(number * self._batch, (number + 1) * self._batch)
        return [self._ask(self._sample(place), rng) for place in places]

    def _sample(self, place: int) -> Sample:
        """Of one's own and of the replayed images each: every image once, in a random order; then in another."""
        replayed = int(place * self._share)
        if int((place + 1) * self._share) > replayed:
            return self._shuffled(self._replay, replayed, 2)
        return self._shuffled(self._samples, place - replayed, 0)

    def _shuffled(self, samples: Sequence[Sample], place: int, stream: int) -> Sample:
        epoch, index = divmod(place, len(samples))
        order = np.random.default_rng([self._seed, stream, epoch]).permutation(len(samples))
        return samples[int(order[index])]

    def _ask(self, sample: Sample, rng: np.random.Generator) -> AskedImage:
        if sample.dialogue:
            return AskedImage(sample, tuple(self._turn(asked) for asked in sample.rounds))
        count = min(self._questions, len(sample.rounds))
        chosen = rng.choice(len(sample.rounds), count, replace=False)
        alone = rng.random() < EXPLANATION_ALONE
        explained = rng.random() < 0.5
        exchanges = (self._exchange(sample.rounds[i], rng, alone=alone, explained=explained) for i in sorted(chosen))
        return AskedImage(sample, tuple(exchanges))

    def _turn(self, asked: Round) -> Exchange:
        said, seg, rest = (asked.answer or NOTHING_THERE).partition(SEG)
        answer = f"{self._plain(said)}{seg}{self._plain(rest)}"
        return Exchange(self._plain(asked.text), answer.strip(), asked.truth if seg else None)

    def _exchange(self, asked: Round, rng: np.random.Generator, *, alone: bool, explained: bool) -> Exchange:
        text = self._plain(asked.text.strip())
        answer = _choose(ANSWERS, rng)
        explanation = self._plain(asked.answer.strip()) if asked.answer else ""
        if self._is_empty(asked):
            answer, explanation, truth = explanation or NOTHING_THERE, "", None
        else:
            truth = asked.truth
        if explanation and alone:
            return Exchange(text, explanation, None)
        if explanation and explained:
            return Exchange(_choose(REASON_QUESTIONS, rng).format(text=text), f"{answer} {explanation}", truth)
        if not asked.is_sentence:
            return Exchange(_choose(PHRASE_QUESTIONS, rng).format(text=text.lower()), answer, truth)
        wordings = SENTENCE_QUESTIONS if explanation else (*SENTENCE_QUESTIONS, BARE_SENTENCE)
        return Exchange(_choose(wordings, rng).format(text=text), answer, truth)

    def _is_empty(self, asked: Round) -> bool:
        """Whether nothing is meant; asked of each truth once, since it is expensive to paint."""
        key = id(asked.truth)  # the samples, kept here, keep it alive
        if key not in self._empty:
            self._empty[key] = not (asked.truth() == 1).any()
        return self._empty[key]


def _choose(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
