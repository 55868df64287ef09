# SPDX-License-Identifier: Apache-2.0
"""Teacher forcing: the answer is given, and only its masks are asked for.

So LISA's authors validate (upstream's train_ds.py): the input ends in `ASSISTANT: [SEG].</s>`, and the mask is made of
the state that stands before that `[SEG]`. One pass through the network, whatever the model would have said itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.lisa.decoding import Lisa, Picture, PromptTooLongError
from lisa_ros.models.lisa.prompt import Exchange


def forced_mask_logits(
    lisa: Lisa, picture: Picture, command: str, answer: str, history: Sequence[Exchange] = ()
) -> list[NDArray[np.float32]]:
    """The masks that a given answer would have.

    Args:
        lisa: the model.
        picture: from `lisa.look`.
        command: what is asked.
        answer: the raw answer, for example "[SEG].".
        history: earlier commands and the raw answers to them.

    Returns:
        mask logits (H, W), size of the picture, for each `[SEG]` of the answer; the mask is logits > 0.

    Raises:
        ValueError: the answer has no `[SEG]`.
        PromptTooLongError: prompt, picture and answer do not fit into the context.
    """
    said = lisa.tokenizer.encode(answer)
    places = [i for i, token in enumerate(said) if token == lisa.config.seg_token_id]
    if not places:
        raise ValueError(f"the answer {answer!r} has no [SEG], so there is no mask to ask for")
    # What follows the last [SEG] cannot change a mask: LLaMA looks back only.
    states = _states(lisa, picture, [*lisa.prompt_ids(command, history), *said[: places[-1]]])
    ends = [len(states) - 1 - (places[-1] - place) for place in places]
    return [picture.mask_logits(states[end : end + 1]) for end in ends]


def _states(lisa: Lisa, picture: Picture, ids: list[int]) -> torch.Tensor:
    """LLaMA's last states (length, hidden) for a prompt with the picture in it."""
    visual = picture.visual_tokens()
    over = len(ids) - 1 + len(visual) - lisa.config.language.max_position_embeddings
    if over > 0:
        raise PromptTooLongError(f"it exceeds the context by {over} tokens")
    network = lisa.network
    with torch.inference_mode():
        inputs = network.embed(torch.tensor(ids, device=network.device), visual)
        states: torch.Tensor = network.language(inputs_embeds=inputs, use_cache=False).last_hidden_state[0]
    return states
