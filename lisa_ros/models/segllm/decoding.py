# SPDX-License-Identifier: Apache-2.0
"""Inference with SegLLM: encode an image once, then answer rounds about it, each with one mask and one box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import MaskLogits
from lisa_ros.models.common.language.engine import Engine
from lisa_ros.models.common.loaded import LoadedModel
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.segllm.configuration import SegllmConfig
from lisa_ros.models.segllm.encoded_image import EncodedImage
from lisa_ros.models.segllm.network import SegllmNetwork
from lisa_ros.models.segllm.prompt import MARKERS, Round, build_prompt
from lisa_ros.models.segllm.tokenizer import SegllmTokenizer
from lisa_ros.models.segllm.visual_reference import Box, VisualReference


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a round.

    Attributes:
        logits: (H, W) float32, size of the image; the mask is logits > 0.
        canvas_mask: (CANVAS, CANVAS) bool, with the box an input of later rounds.
        box: x0, y0, x1, y1 in pixels of the canvas; may reach outside.
        score: confidence of the mask, 0 to 1.
        query: number of HIPIE's query.
    """

    logits: NDArray[np.float32]
    canvas_mask: NDArray[np.bool_]
    box: Box
    score: float
    query: int


class Segllm(LoadedModel):
    """A loaded SegLLM.

    Attributes:
        network, config, tokenizer, clip, name, engine: as load_segllm made them.
    """

    def __init__(
        self,
        network: SegllmNetwork,
        config: SegllmConfig,
        tokenizer: SegllmTokenizer,
        clip: ClipPreprocessing,
        name: str,
        engine: Engine,
    ) -> None:
        """Made by load_segllm."""
        self.network: SegllmNetwork = network
        self.config, self.tokenizer, self.clip, self.name = config, tokenizer, clip, name
        self.engine = engine
        self._control_texts = (*tokenizer.control_texts, *MARKERS)

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Prepares an image, RGB uint8 (H, W, 3), for commands about it."""
        return EncodedImage(image, self.network, self.clip)

    def round_of(self, command: str, *, references: Sequence[VisualReference] = ()) -> Round:
        """What an operator typed, as a round; no control text in it has any effect."""
        return Round(neutralize(command, self._control_texts), tuple(references))

    def prompt_ids(self, image: EncodedImage, rounds: Sequence[Round]) -> list[int]:
        """The ids of a dialogue up to the `<seg>` that answers its last round, `<video>` in every slot."""
        return self.tokenizer.encode_prompt(build_prompt(rounds, len(self._patches(image))))

    def _patches(self, image: EncodedImage) -> torch.Tensor:
        return self.engine.compute(image.patches)

    def free_positions(self, image: EncodedImage, rounds: Sequence[Round]) -> int:
        """Positions of the context that a dialogue leaves; negative where it is too long."""
        return self.config.language.max_position_embeddings - len(self.prompt_ids(image, rounds))

    def hipie_prompt(self, image: EncodedImage, rounds: Sequence[Round]) -> torch.Tensor:
        """HIPIE's prompt for the last of some rounds: (TEXT_TOKENS, width) float32.

        Positions that the prefix cache holds from earlier calls are not computed again.
        """
        ids = self.prompt_ids(image, rounds)
        patches = self._patches(image)
        referenced = [one for asked in rounds for one in asked.references]
        with torch.inference_mode():
            references = [self.engine.compute(partial(image.reference, one)) for one in referenced]
            inputs = self.engine.compute(lambda: self._embedded(ids, torch.cat([patches, *references])))
        head = ids.index(self.config.slot_token_id) + len(patches)
        with self.engine.prefill(image, self._key(image, ids, referenced), inputs, head) as generation:
            (state,) = generation.extend(()).states.split(1)
            generation.store()
        with torch.inference_mode():
            return self.engine.compute(lambda: self.network.hipie_prompt(state))

    def _embedded(self, ids: Sequence[int], features: torch.Tensor) -> torch.Tensor:
        return self.network.embed(torch.tensor(ids, device=self.network.device), features)[0]

    def _key(self, image: EncodedImage, ids: Sequence[int], referenced: Sequence[VisualReference]) -> tuple[int, ...]:
        """The ids with the image's number in its slots, and in a reference's two slots its own."""
        slot = self.config.slot_token_id
        patches = [image.number] * len(self._patches(image))
        numbers = iter([*patches, *[one.number for one in referenced for _ in range(2)]])
        return tuple(next(numbers) if number == slot else number for number in ids)

    def answer(
        self, image: EncodedImage, rounds: Sequence[Round], cancelled: Callable[[], bool] = lambda: False
    ) -> Answer | None:
        """Answers the last of some rounds. Several threads may answer at the same time.

        Args:
            image: from `encode`.
            rounds: the dialogue about it, in order.
            cancelled: called before prefill, before HIPIE's encoder and before each of its layers.

        Returns:
            one object, always: the model cannot answer that there is none. None where it was cancelled.

        Raises:
            NotFiniteError: the network computed NaN or infinity.
        """
        if cancelled():
            return None
        prompt = self.hipie_prompt(image, rounds)
        if cancelled():
            return None
        return self.engine.compute(lambda: self._found(image, prompt, cancelled))

    def _found(self, image: EncodedImage, prompt: torch.Tensor, cancelled: Callable[[], bool]) -> Answer | None:
        features = image.features()
        with torch.inference_mode():
            found = self.network.hipie.find(features, prompt, lambda: not cancelled())
            if found is None:
                return None
            canvas = image.canvas.upsampled(found.logits)
            logits = MaskLogits(image.canvas.in_original(canvas).cpu().numpy(), found.logits.cpu().numpy())
            x0, y0, x1, y1 = found.box.tolist()
            return Answer(logits.full, (canvas > 0).cpu().numpy(), (x0, y0, x1, y1), found.score, found.query)
