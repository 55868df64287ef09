# SPDX-License-Identifier: Apache-2.0
"""Questions about a view of the table, with true answers.

A family is a function from what can be seen, a operator and the turn before to a question, or None where the view gives
no occasion for it. A new family is one more function in `FAMILIES` with its weight in `WEIGHTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.questions import families, relations, without_mask
from lisa_ros.tabletop.questions.corpus import tokenizer_corpus
from lisa_ros.tabletop.questions.descriptions import VisibleObjects
from lisa_ros.tabletop.questions.follow_ups import follow
from lisa_ros.tabletop.questions.question import PLAIN, Asked, Family, FollowUpMix, Operator, Question, Topic

__all__ = [
    "ALL_WEIGHTS",
    "FAMILIES",
    "MIN_SHARE",
    "WEIGHTS",
    "Question",
    "conversation",
    "questions",
    "tokenizer_corpus",
    "true_mask",
]

MIN_SHARE = 1 / 640
"""An object that covers less of the image (120 pixels of 320x240) is too hidden to be asked for."""

REPEATS = 4
"""How often another question is sought when a dialogue would ask the same object twice."""

FAMILIES: dict[str, Family] = {
    "direct": families.direct,
    "attribute": relations.attribute,
    "relation": relations.relation,
    "use": families.use,
    "several": families.several,
    "absent": families.absent,
    "explain": families.explain,
    "follow": follow,
    "pair": families.pair,
    "count": without_mask.count,
    "whether": without_mask.whether,
    "unknown kind": without_mask.unknown_kind,
    "not understood": without_mask.not_understood,
}

WEIGHTS: dict[str, float] = {
    "direct": 0.22,
    "attribute": 0.14,
    "relation": 0.16,
    "use": 0.14,
    "several": 0.08,
    "absent": 0.18,
    "explain": 0.1,
    "follow": 1.0,
}
"""How often each family is tried. "follow" counts only after a turn that sets a topic."""

ALL_WEIGHTS: dict[str, float] = {
    **WEIGHTS,
    "pair": 0.06,
    "count": 0.05,
    "whether": 0.05,
    "unknown kind": 0.04,
    "not understood": 0.1,
}
"""As WEIGHTS, with two objects at once and with questions that are answered in text alone."""

LEARNED_WEIGHTS: dict[str, float] = {
    **ALL_WEIGHTS,
    **{"pair": 0.12, "count": 0.09, "whether": 0.09, "unknown kind": 0.07},
}
"""As ALL_WEIGHTS, with more of what is answered in text: training asks in few of the ways in which people may ask.
Half of the pairs are lists of three objects."""


def conversation(
    view: View,
    rng: np.random.Generator,
    turns: int,
    held_out: bool = False,
    *,
    min_pixels: int | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    learning: bool = False,
    mix: FollowUpMix = PLAIN,
    varied: bool = False,
    all_combinations: bool = False,
) -> list[Question]:
    """A dialogue about one view; a follow-up comes only right after the turn it depends on.

    Args:
        view: the image and its truth.
        rng: source of every choice; the same state gives the same dialogue.
        turns: number of questions, 1 or more.
        held_out: speak only the phrasings kept for evaluation.
        min_pixels: objects with fewer pixels are neither asked for nor called absent; None: `MIN_SHARE` of the image.
        weights: share of each family of `FAMILIES`; families left out are not asked.
        learning: as training asks, without the combinations that are reserved for evaluation.
        mix: how often follow-ups ask for what is not there.
        varied: ask in more ways, with politeness, typing errors and the like.
        all_combinations: training, too, asks about the combinations that are reserved for evaluation.

    Returns:
        `turns` questions, or fewer where the view gives no occasion for the families asked for.

    Raises:
        ValueError: for fewer than one turn or a family that does not exist.
    """
    _check(turns, weights)
    least = round(MIN_SHARE * view.instances.size) if min_pixels is None else min_pixels
    visible = VisibleObjects(view, least)
    operator = Operator(rng, held_out, learning, mix, varied, all_combinations)
    asked: list[Asked] = []
    while len(asked) < turns:
        said = [one.question.text for one in asked]
        turn = _turn(visible, operator, asked[-1].topic if asked else None, weights, said)
        if turn is None:
            break
        asked.append(turn)
    return [one.question for one in asked]


def questions(
    view: View,
    rng: np.random.Generator,
    count: int,
    held_out: bool = False,
    *,
    min_pixels: int | None = None,
    weights: Mapping[str, float] = WEIGHTS,
) -> list[Question]:
    """Questions that each open a dialogue of their own; arguments as in `conversation`."""
    sets = (conversation(view, rng, 1, held_out, min_pixels=min_pixels, weights=weights) for _ in range(count))
    return [question for one in sets for question in one]


def true_mask(view: View, question: Question) -> NDArray[np.bool_]:
    """(H, W) bool: the pixels of every object that the question means; all False when it means none."""
    return np.isin(view.instances, np.asarray(question.instances, dtype=np.uint8))


def _check(turns: int, weights: Mapping[str, float]) -> None:
    if turns < 1:
        raise LisaError(f"A dialogue needs 1 turn or more, not {turns}.")
    unknown = sorted(set(weights) - set(FAMILIES))
    if unknown:
        raise LisaError(f"No question family is named {', '.join(unknown)}; there are {', '.join(FAMILIES)}.")


def _turn(
    visible: VisibleObjects, operator: Operator, before: Topic | None, weights: Mapping[str, float], said: Sequence[str]
) -> Asked | None:
    """The next turn, if possible not in words used before."""
    last: Asked | None = None
    for _ in range(REPEATS):
        asked = _of_some_family(visible, operator, before, weights)
        if asked is not None and asked.question.text not in said:
            return asked
        last = asked or last
    return last


def _of_some_family(
    visible: VisibleObjects, operator: Operator, before: Topic | None, weights: Mapping[str, float]
) -> Asked | None:
    """A question of a family drawn by weight, among those that have something to ask here."""
    left = {family: weight for family, weight in weights.items() if weight > 0}
    while left:
        family = operator.choose(list(left), list(left.values()))
        asked = FAMILIES[family](visible, operator, before)
        if asked is not None:
            return asked
        del left[family]
    return None
