# SPDX-License-Identifier: Apache-2.0
"""SegLLM at work: look at a picture once, then answer rounds about it, each with one mask and one box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answering import kept_read_bytes
from lisa_ros.models.common.language.reading import Reader
from lisa_ros.models.common.loaded import Loaded
from lisa_ros.models.common.options import DEFAULT_CACHE
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.segllm.configuration import SegllmConfig
from lisa_ros.models.segllm.encoded_image import EncodedImage
from lisa_ros.models.segllm.network import SegllmNetwork
from lisa_ros.models.segllm.prompt import MARKERS, Round, build_prompt
from lisa_ros.models.segllm.shown import Box, Shown
from lisa_ros.models.segllm.tokenizer import SegllmTokenizer


@dataclass(frozen=True)
class Answer:
    """What a round came to.

    Attributes:
        logits: (H, W) float32, size of the picture; the mask is logits > 0.
        canvas_mask: (CANVAS, CANVAS), and
        box: x0, y0, x1, y1 in pixels of the canvas, which a later round is shown; may reach outside.
        score: how likely it is right, 0 to 1.
        query: number of HIPIE's query.
    """

    logits: NDArray[np.float32]
    canvas_mask: NDArray[np.bool_]
    box: Box
    score: float
    query: int


class Segllm(Loaded):
    """A loaded SegLLM.

    Attributes:
        network, config, tokenizer, clip, name: as load_segllm made them.
        reader: reads dialogues, and keeps what was read.
    """

    def __init__(
        self,
        network: SegllmNetwork,
        config: SegllmConfig,
        tokenizer: SegllmTokenizer,
        clip: ClipPreprocessing,
        name: str,
        *,
        cache_mib: int = DEFAULT_CACHE,
    ) -> None:
        """Made by load_segllm."""
        self.network: SegllmNetwork = network
        self.config, self.tokenizer, self.clip, self.name = config, tokenizer, clip, name
        self.reader: Reader = Reader(network, kept_read_bytes(network.device, cache_mib))
        self._control_texts = (*tokenizer.control_texts, *MARKERS)

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """A picture to ask about: RGB uint8 (H, W, 3)."""
        return EncodedImage(image, self.network, self.clip)

    def round_of(self, command: str, *, shown: Sequence[Shown] = ()) -> Round:
        """What an operator typed, as a round; no control text in it has any effect."""
        return Round(neutralize(command, self._control_texts), tuple(shown))

    def prompt_ids(self, picture: EncodedImage, rounds: Sequence[Round]) -> list[int]:
        """The ids of a dialogue up to the `<seg>` that answers its last round, `<video>` in every slot."""
        return self.tokenizer.encode_prompt(build_prompt(rounds, len(picture.patches())))

    def room(self, picture: EncodedImage, rounds: Sequence[Round]) -> int:
        """Positions of the context that a dialogue leaves; negative where it is too long."""
        return self.config.language.max_position_embeddings - len(self.prompt_ids(picture, rounds))

    def words(self, picture: EncodedImage, rounds: Sequence[Round]) -> torch.Tensor:
        """What HIPIE is prompted with for the last of some rounds: (WORDS, width) float32.

        What earlier calls have read of the same dialogue is not read again.
        """
        ids = self.prompt_ids(picture, rounds)
        patches = picture.patches()
        shown = [one for asked in rounds for one in asked.shown]
        with torch.inference_mode():
            features = torch.cat([patches, *(picture.reference(one) for one in shown)])
            inputs = self.network.embed(torch.tensor(ids, device=self.network.device), features)[0]
        reading = self.reader.begin_embedded(picture, self._key(picture, ids, shown), inputs, len(patches))
        (state,) = reading.read(()).states.split(1)
        reading.keep(())
        with torch.inference_mode():
            return self.network.words(state)

    def _key(self, picture: EncodedImage, ids: Sequence[int], shown: Sequence[Shown]) -> tuple[int, ...]:
        """The ids with the picture's number in place of its slots, and in a reference's two slots its own."""
        slot, patches = self.config.slot_token_id, len(picture.patches())
        first = ids.index(slot)
        numbers = iter([one.number for one in shown for _ in range(2)])
        rest = [next(numbers) if number == slot else number for number in ids[first + patches :]]
        return (*ids[:first], picture.number, *rest)

    def answer(
        self, picture: EncodedImage, rounds: Sequence[Round], cancelled: Callable[[], bool] = lambda: False
    ) -> Answer | None:
        """Answers the last of some rounds. Several threads may be answered at the same time.

        Args:
            picture: from `look`.
            rounds: the dialogue about it, in order.
            cancelled: asked before LLaMA reads, before HIPIE looks and before each layer of its encoder.

        Returns:
            one object, always: the model has no way to say that there is none. None where it was cancelled.
        """
        if cancelled():
            return None
        words = self.words(picture, rounds)
        if cancelled():
            return None
        features = picture.features()
        with torch.inference_mode():
            found = self.network.hipie.find(features, words, lambda: not cancelled())
            if found is None:
                return None
            canvas = picture.canvas.upsampled(found.logits)
            logits = picture.canvas.in_original(canvas).cpu().numpy()
            x0, y0, x1, y1 = found.box.tolist()
            return Answer(logits, (canvas > 0).cpu().numpy(), (x0, y0, x1, y1), found.score, found.query)
