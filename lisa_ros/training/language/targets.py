# SPDX-License-Identifier: Apache-2.0
"""Questions and their answers as the ids that a checkpoint learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.prompt import Exchange, Template, build_prompt
from lisa_ros.models.lisa.tokenizer import LisaTokenizer

IGNORED = -100
"""Among targets: no target here (torch's default)."""


@dataclass(frozen=True)
class TargetEncoder:
    """How text is put to a checkpoint."""

    tokenizer: LisaTokenizer
    template: Template
    config: LisaConfig

    def plain(self, text: str) -> str:
        """A text of a data set as plain text: control texts in it have no effect, as when an operator types them."""
        return neutralize(text, (*self.tokenizer.control_texts, *self.template.markers))

    def ids_and_targets(self, exchanges: Sequence[Exchange]) -> tuple[torch.Tensor, torch.Tensor]:
        """A conversation, every answer of which is to be learned.

        Args:
            exchanges: questions, plain already, with their answers; one or more.

        Returns:
            (length,) int64 ids, IMAGE_TOKEN_INDEX where the image goes; and as many targets: the id where the model
            has to produce it (an answer and its end), IGNORED elsewhere.
        """
        ids = self._ids(exchanges)
        targets = [IGNORED] * len(ids)
        for i, (question, _) in enumerate(exchanges):
            start, end = len(self._ids([*exchanges[:i], (question, "")])), len(self._ids(exchanges[: i + 1]))
            targets[start:end] = ids[start:end]
        return torch.tensor(ids), torch.tensor(targets)

    def _ids(self, exchanges: Sequence[Exchange]) -> list[int]:
        given = [(self.config.as_given(question), answer) for question, answer in exchanges]
        return self.tokenizer.encode_prompt(build_prompt(self.template, given, wrap_image=self.config.wrap_image))


def spread_and_shift(ids: torch.Tensor, targets: torch.Tensor, patches: int) -> torch.Tensor:
    """The target of LLaMA's state at each position.

    Args:
        ids: (length,) with one IMAGE_TOKEN_INDEX.
        targets: (length,).
        patches: tokens that stand for the image.

    Returns:
        (length - 1 + patches,): at each position the next target.
    """
    position = int((ids == IMAGE_TOKEN_INDEX).nonzero()[0])
    spread = torch.cat([targets[:position], torch.full((patches,), IGNORED), targets[position + 1 :]])
    return torch.cat([spread[1:], torch.full((1,), IGNORED)])
