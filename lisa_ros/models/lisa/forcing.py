# SPDX-License-Identifier: Apache-2.0
"""Teacher forcing: the answer is given, and only its masks are asked for.

So LISA's authors validate (upstream's train_ds.py): the input ends in `ASSISTANT: [SEG].</s>`, and the mask is made of
the state that stands before that `[SEG]`. One pass through the network, whatever the model would have said itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.answering import PromptTooLongError
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.prompt import Exchange


def forced_mask_logits(
    lisa: Lisa, picture: EncodedImage, command: str, answer: str, history: Sequence[Exchange] = ()
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
    prompt_ids = lisa.prompt_ids(command, history)
    # What follows the last [SEG] cannot change a mask: LLaMA looks back only.
    needed = said[: places[-1]]
    over = len(needed) - lisa.room(prompt_ids, picture)
    if over > 0:
        raise PromptTooLongError(f"it exceeds the context by {over} tokens")
    states = lisa.reader.begin(picture, prompt_ids).read(needed).states
    return [picture.mask_logits(states[place : place + 1]).full for place in places]
