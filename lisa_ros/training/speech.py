# SPDX-License-Identifier: Apache-2.0
"""A question and its answer as the ids that a checkpoint learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lisa_ros.models.lisa.prompt import Template, build_prompt, neutralize
from lisa_ros.models.lisa.tokenizer import IMAGE_TOKEN_INDEX, LisaTokenizer

IGNORED = -100
"""Among targets: nothing is to be said here (torch's default)."""


@dataclass(frozen=True)
class Speech:
    """How a checkpoint is spoken to."""

    tokenizer: LisaTokenizer
    template: Template
    wrap_image: bool

    def plain(self, text: str) -> str:
        """A text of a data set as plain words: control texts in it mean nothing, as when an operator types them."""
        return neutralize(text, (*self.tokenizer.control_texts, *self.template.markers))

    def ids_and_targets(self, question: str, answer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A conversation of one question.

        Returns:
            (length,) int64 ids, IMAGE_TOKEN_INDEX where the picture goes; and as many targets: the id where the model
            has to say it (the answer and its end), IGNORED elsewhere.
        """
        ids, asked = (
            self.tokenizer.encode_prompt(build_prompt(self.template, [(question, said)], wrap_image=self.wrap_image))
            for said in (answer, "")
        )
        return torch.tensor(ids), torch.tensor([IGNORED] * len(asked) + ids[len(asked) :])


def spread_and_shift(ids: torch.Tensor, targets: torch.Tensor, patches: int) -> torch.Tensor:
    """What LLaMA's state at each position has to say.

    Args:
        ids: (length,) with one IMAGE_TOKEN_INDEX.
        targets: (length,).
        patches: tokens that stand for the picture.

    Returns:
        (length - 1 + patches,): at each position the next target.
    """
    place = int((ids == IMAGE_TOKEN_INDEX).nonzero()[0])
    spread = torch.cat([targets[:place], torch.full((patches,), IGNORED), targets[place + 1 :]])
    return torch.cat([spread[1:], torch.full((1,), IGNORED)])
