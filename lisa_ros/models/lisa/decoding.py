# SPDX-License-Identifier: Apache-2.0
"""Inference with LISA: encode an image once, then answer commands about it token by token, masks as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import MAX_MASKS, Answer, MaskStep, Reason, TextStep, lowest
from lisa_ros.models.common.errors import PromptTooLongError
from lisa_ros.models.common.language.engine import Engine, Generation
from lisa_ros.models.common.loaded import TextModel
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.drafts import OPENINGS, Drafts, NoDrafts
from lisa_ros.models.lisa.encoded_image import EncodedImage, FindRegion
from lisa_ros.models.lisa.image.object_region import RegionFinder
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.prompt import Exchange, Template, build_prompt
from lisa_ros.models.lisa.sam.background import BackgroundWorker
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing

MASK_ONLY_ANSWER = "[SEG]."
"""The forced answer for a mask without text, as in the validation of LISA's authors (train_ds.py)."""

Token = tuple[int, torch.Tensor, torch.Tensor]
"""A token's id, the state (1, hidden) that predicted it, and its log-probability, ()."""

Steps = Iterator[MaskStep | TextStep | Answer]


class Lisa(TextModel):
    """A loaded LISA. Encoding an image is expensive and done once, answering is cheap.

    Attributes:
        network, config, tokenizer, template, clip, name, engine: as load_lisa made them.
        drafts: earlier answers, from which draft tokens are taken.
        find_region: finds the part of an image that is encoded; None, as in the public code: all of it.
    """

    find_region: FindRegion | None = None

    engine_type: type[Engine] = Engine
    """Runs the language model."""

    min_answer_positions = 64
    """Tokens that an answer should have at least; upstream's longest explanations take about 60."""

    def __init__(
        self,
        network: LisaNetwork,
        config: LisaConfig,
        tokenizer: LisaTokenizer,
        template: Template,
        clip: ClipPreprocessing,
        name: str,
        engine: Engine,
        *,
        deterministic: bool = False,
    ) -> None:
        """Made by load_lisa."""
        self.network: LisaNetwork = network
        self.config, self.tokenizer, self.name = config, tokenizer, name
        self.template, self.clip, self.engine = template, clip, engine
        openings = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in OPENINGS]
        self.drafts = NoDrafts() if deterministic else Drafts(openings)
        in_background = network.device.type == "cuda" and not deterministic
        self.background = BackgroundWorker(network.device) if in_background else None
        self._control_texts = (*tokenizer.control_texts, *template.markers)
        # An operator can make a model spell these out. The tokens of its answers, `[SEG]` above all, stay tokens.
        self._answer_controls = tuple(text for text in self._control_texts if text not in config.added_tokens)

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Prepares an image, RGB uint8 (H, W, 3), for commands about it; see EncodedImage for errors."""
        return EncodedImage(image, self.network, self.clip, self.background, self.find_region)

    def encode_objects(self) -> None:
        """From now on the region of the objects is encoded, where config.json has what finds it."""
        patches = self.config.object_patches
        if patches is None:
            self.find_region = None
            return
        features = partial(self.network.patch_features, layers=patches.layers)
        self.find_region = RegionFinder(features, self.clip, patches)

    def release(self) -> None:
        """See LoadedModel."""
        if self.background is not None:
            self.background.close()
        self.find_region = None
        super().release()

    def prompt_ids(self, command: str, history: Sequence[Exchange] = ()) -> list[int]:
        """The prompt's ids, IMAGE_TOKEN_INDEX where the image goes.

        Args:
            command: what the operator typed; no control text in it has any effect.
            history: earlier commands and the model's raw answers to them.
        """
        earlier = [(self._plain(command), neutralize(answer, self._answer_controls)) for command, answer in history]
        exchanges = [*earlier, (self._plain(command), "")]
        prompt = build_prompt(self.template, exchanges, wrap_image=self.config.wrap_image)
        return self.tokenizer.encode_prompt(prompt)

    def _plain(self, command: str) -> str:
        return neutralize(self.config.as_given(command), self._control_texts)

    def free_positions(self, prompt_ids: Sequence[int], image: EncodedImage) -> int:
        """Positions of the context that a prompt leaves for its answer; negative where the prompt is too long."""
        visual_tokens = self.engine.compute(image.visual_tokens)
        prompt = len(prompt_ids) - 1 + len(visual_tokens)  # they replace IMAGE_TOKEN_INDEX
        return self.config.language.max_position_embeddings - prompt

    def prefill(self, image: EncodedImage, prompt_ids: Sequence[int]) -> Generation:
        """Prefills a prompt with its image."""
        visual_tokens = self.engine.compute(image.visual_tokens)
        place = prompt_ids.index(IMAGE_TOKEN_INDEX)
        key = (*prompt_ids[:place], *[image.number] * len(visual_tokens), *prompt_ids[place + 1 :])

        def embed() -> torch.Tensor:
            return self.network.embed(torch.tensor(prompt_ids, device=self.network.device), visual_tokens)[0]

        with torch.inference_mode():
            inputs = self.engine.compute(embed)
        return self.engine.prefill(image, key, inputs, place + len(visual_tokens))

    def answer(
        self,
        image: EncodedImage,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        mask_only: bool = False,
    ) -> Steps:
        """Answers a command after the history of its dialogue, see answer_prompt and prompt_ids."""
        prompt_ids = self.prompt_ids(command, history)
        return self.answer_prompt(
            image, prompt_ids, max_new_tokens=max_new_tokens, cancelled=cancelled, mask_only=mask_only
        )

    def answer_prompt(
        self,
        image: EncodedImage,
        prompt_ids: Sequence[int],
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        mask_only: bool = False,
        pointing: Pointing = NO_POINTING,
    ) -> Steps:
        """Answers a prompt by greedy decoding. Several threads may answer at the same time.

        Args:
            image: from `encode`.
            prompt_ids: from `prompt_ids`.
            max_new_tokens: the answer is cut there.
            cancelled: called before every token; when it returns True, the answer ends there.
            mask_only: force MASK_ONLY_ANSWER: always one mask, and no text of the model's own.
            pointing: points and boxes that prompt SAM's mask decoder together with each `[SEG]`.

        Yields:
            A step for every token, masks as soon as their `[SEG]` is generated (the first MAX_MASKS); the Answer last.

        Raises:
            PromptTooLongError: prompt, image and answer do not fit into the context.
            NotFiniteError: the network computed NaN or infinity.
        """
        forced = self._forced_ids(MASK_ONLY_ANSWER) if mask_only else None
        longest = len(forced) if forced else max_new_tokens
        if (free := self.free_positions(prompt_ids, image)) < longest:
            raise PromptTooLongError(f"the prompt leaves {free} tokens for an answer of up to {longest}")
        with image.expecting_masks(), self.prefill(image, prompt_ids) as generation:
            tokens = self._forced(generation, forced) if forced else self._greedy(generation, longest)
            with self.engine.batcher.active():
                yield from self._steps(image, prompt_ids, tokens, longest, cancelled, pointing)

    def _steps(
        self,
        image: EncodedImage,
        prompt_ids: Sequence[int],
        tokens: Iterator[Token],
        longest: int,
        cancelled: Callable[[], bool],
        pointing: Pointing,
    ) -> Steps:
        """Generated tokens as `answer` yields them."""
        ids: list[int] = []
        log_probs: list[torch.Tensor] = []
        masks = 0
        reason: Reason = "cancelled"
        while not cancelled() and (step := next(tokens, None)) is not None:
            token, state, log_prob = step
            ids.append(token)
            log_probs.append(log_prob)
            masks += token == self.config.seg_token_id
            if token == self.config.seg_token_id and masks <= MAX_MASKS:
                yield self._mask_step(image, state, ids, log_probs, pointing)
            elif token != self.tokenizer.eos_token_id:
                yield TextStep(self.tokenizer.decode_answer(ids))
            if token == self.tokenizer.eos_token_id or len(ids) == longest:
                reason = "end" if token == self.tokenizer.eos_token_id else "length"
                break
        least = self.engine.compute(lambda: lowest(log_probs))
        yield Answer(self.tokenizer.decode_answer(ids), tuple(prompt_ids), tuple(ids), reason, least)

    def _mask_step(
        self,
        image: EncodedImage,
        state: torch.Tensor,
        ids: Sequence[int],
        log_probs: Sequence[torch.Tensor],
        pointing: Pointing,
    ) -> MaskStep:
        with self.engine.batcher.paused():
            logits = self.engine.compute(lambda: image.mask_logits(state, pointing))
            log_prob = self.engine.compute(lambda: lowest(log_probs))
        return MaskStep(logits.full, logits.low_res, self.tokenizer.decode_answer(ids), log_prob, shown=logits.shown)

    def _greedy(self, generation: Generation, longest: int) -> Iterator[Token]:
        """The most likely answer, up to and with `</s>`; draft tokens are verified in one step.

        The state that predicts a `[SEG]` is its embedding, so nothing is computed again for a mask.
        """
        generated: list[int] = []
        while True:
            draft = self.drafts.propose(generated, longest - len(generated) - 1)
            output = generation.extend([*generated[-1:], *draft])
            tokens = output.tokens
            right = next((i for i, drafted in enumerate(draft) if drafted != tokens[i]), len(draft))
            generation.rollback(len(draft) - right)
            for i in range(right + 1):
                generated.append(tokens[i])
                ended = tokens[i] == self.tokenizer.eos_token_id or len(generated) == longest
                if ended:
                    self.drafts.add(generated)
                    generation.store()
                yield tokens[i], output.states[i : i + 1], output.log_probs[i]
                if ended:
                    return

    def _forced_ids(self, answer: str) -> list[int]:
        return [*self.tokenizer.encode(answer), self.tokenizer.eos_token_id]

    def _forced(self, generation: Generation, ids: Sequence[int]) -> Iterator[Token]:
        """A teacher-forced answer, computed no further than its last `[SEG]` needs."""
        last = max(i for i, token in enumerate(ids) if token == self.config.seg_token_id)
        states = generation.extend(ids[:last]).states
        generation.store()
        with torch.inference_mode():
            log_probs = self.engine.compute(lambda: self.network.lm_head(states).float().log_softmax(-1))
        for i, token in enumerate(ids):
            place = min(i, last)
            yield token, states[place : place + 1], log_probs[place, token]
