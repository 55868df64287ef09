# SPDX-License-Identifier: Apache-2.0
"""Teacher forcing: the answer is given, and only its masks are computed.

LISA's authors validate this way (upstream's train_ds.py): the input ends in `ASSISTANT: [SEG].</s>`, and the mask is
decoded from the state before that `[SEG]`. One pass through the network, whatever the model itself would have answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.errors import PromptTooLongError
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.prompt import Exchange
from lisa_ros.segmentation.errors import LisaError


def forced_mask_logits(
    lisa: Lisa, image: EncodedImage, command: str, answer: str, history: Sequence[Exchange] = ()
) -> list[NDArray[np.float32]]:
    """The masks that a given answer would have.

    Args:
        lisa: the model.
        image: from `lisa.encode`.
        command: the operator's text.
        answer: the raw answer, for example "[SEG].".
        history: earlier commands and the raw answers to them.

    Returns:
        mask logits (H, W), size of the image, for each `[SEG]` of the answer; the mask is logits > 0.

    Raises:
        LisaError: the answer has no `[SEG]`.
        PromptTooLongError: prompt, image and answer do not fit into the context.
        NotFiniteError: the network computed NaN or infinity.
    """
    ids = lisa.tokenizer.encode(answer)
    places = [i for i, token in enumerate(ids) if token == lisa.config.seg_token_id]
    if not places:
        raise LisaError(f"the answer {answer!r} has no [SEG], so it has no mask")
    prompt_ids = lisa.prompt_ids(command, history)
    # What follows the last [SEG] cannot change a mask: LLaMA attends to earlier positions only.
    needed = ids[: places[-1]]
    over = len(needed) - lisa.free_positions(prompt_ids, image)
    if over > 0:
        raise PromptTooLongError(f"it exceeds the context by {over} tokens")
    with lisa.prefill(image, prompt_ids) as generation:
        states = generation.extend(needed).states
    return [
        lisa.engine.compute(lambda place=place: image.mask_logits(states[place : place + 1])).full  # type: ignore[misc]
        for place in places
    ]
