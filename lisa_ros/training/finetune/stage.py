# SPDX-License-Identifier: Apache-2.0
"""The training stage of `lisa finetune`: a loaded LISA learns from images with questions and masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from lisa_ros.datasets.samples import DataError, Sample, Truth
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.encoded_image import FindRegion
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.training.language.reason_questions import ANSWERS, REASON_QUESTIONS, AskedImage, Curriculum
from lisa_ros.training.language.targets import IGNORED, TargetEncoder, spread_and_shift
from lisa_ros.training.loop.losses import BCE_WEIGHT, DICE_WEIGHT, TEXT_WEIGHT, batch_mask_losses
from lisa_ros.training.loop.trainer import Scalars
from lisa_ros.training.scenes.frozen_features import FeatureCache, FrozenFeatures, image_of

SHOWN_SIZE = (320, 240)
"""Largest width and height of an image in the grid for TensorBoard, pixels."""


class FinetuneStage(nn.Module):
    """Questions about images, each a conversation of its own, and dialogues; those of an image share its features.

    The loss is upstream's: cross-entropy of the answers' tokens, mean over the batch's tokens, and the masks' BCE and
    DICE at the images' own sizes. Ignored pixels count as background, as upstream trains.
    """

    def __init__(
        self,
        network: LisaNetwork,
        config: LisaConfig,
        clip: ClipPreprocessing,
        encoder: TargetEncoder,
        samples: Sequence[Sample],
        *,
        seed: int,
        batch: int,
        questions: int,
        replay: Sequence[Sample] = (),
        share: float = 0.0,
        find_region: FindRegion | None = None,
    ) -> None:
        """Takes a network that lora.prepare made trainable.

        Args:
            network: trained in place.
            config: the checkpoint's configuration.
            clip: the checkpoint's CLIP preprocessing.
            encoder: makes tokens of questions and answers, with the checkpoint's tokenizer and template.
            samples: all usable.
            seed: of all random numbers.
            batch: images in a batch.
            questions: the most that are asked about an image at once.
            replay: general examples that are mixed in, see Curriculum.
            share: of the images that are replayed.
            find_region: finds the part of an image that the networks are given, see Lisa.

        Raises:
            DataError: a question with its answer is longer than the model's context.
        """
        super().__init__()
        self.network = network
        self._encoder, self._features = encoder, FeatureCache(network, clip, find_region=find_region)
        self._curriculum = Curriculum(samples, seed, batch, questions, encoder.plain, replay, share)
        self._seg = config.seg_token_id
        patches = int(network.vision_tower.embeddings.num_positions) - 1
        for sample in (*samples, *replay):
            self._check_length(sample, config.language.max_position_embeddings - patches)
        self._learn(True)

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One batch's loss."""
        asked = self._curriculum(number)
        images = [self._features(one.sample) for one in asked]
        words, logits = self._answer(asked, images)
        wanted = [self._wanted(one, image) for one, image in zip(asked, images, strict=True)]
        bce, dice = (loss.to(words.device) for loss in batch_mask_losses(logits, wanted))
        loss = TEXT_WEIGHT * words + BCE_WEIGHT * bce + DICE_WEIGHT * dice
        return loss, {"loss": loss.item(), "words": words.item(), "bce": bce.item(), "dice": dice.item()}

    def describe(self, number: int) -> str:
        """The images and questions of a batch."""
        return "; ".join(
            f"{one.sample.name} ({' | '.join(exchange.question for exchange in one.exchanges)})"
            for one in self._curriculum(number)
        )

    @torch.no_grad()
    def images(self, number: int) -> NDArray[np.uint8]:
        """For each image of a batch, with its first question: image, truth, prediction. RGB (H, W, 3)."""
        asked = self._curriculum(number)
        images = [self._features(one.sample) for one in asked]
        self._learn(False)
        _, logits = self._answer(asked, images)
        self._learn(True)
        rows = [_row(*one) for one in zip(asked, logits, images, strict=True)]
        width = max(row.shape[1] for row in rows)
        return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])

    def _learn(self, learning: bool) -> None:
        """Turns the adapters' dropout on or off; nothing else differs."""
        self.network.eval()
        self.network.language.train(learning)

    def _answer(
        self, asked: Sequence[AskedImage], images: Sequence[FrozenFeatures]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(cross-entropy of the tokens, for each image the logits (n, H, W) of its masks)."""
        with self._computing():
            states, targets = self._read(asked, images)
            said = targets != IGNORED
            words = F.cross_entropy(self.network.lm_head(states[said]).float(), targets[said])
            prompts = self.network.text_hidden_fcs(states[targets == self._seg]).float()
        logits, start = [], 0
        for one, image in zip(asked, images, strict=True):
            end = start + sum(exchange.truth is not None for exchange in one.exchanges)
            logits.append(self._masks(prompts[start:end], image))
            start = end
        return words, logits

    def _read(self, asked: Sequence[AskedImage], images: Sequence[FrozenFeatures]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, length, hidden) states, and (B, length) the next token of each state."""
        device = self.network.device
        rows, targets = [], []
        for one, image in zip(asked, images, strict=True):
            tokens = image.tokens.to(device)
            for conversation in one.conversations:
                ids, wanted = self._encoder.ids_and_targets(conversation)
                rows.append(self.network.embed(ids.to(device), tokens)[0].to(self.network.dtype))
                targets.append(spread_and_shift(ids, wanted, len(tokens)))
        # Padding comes after everything that counts, and attention is causal: it needs no mask.
        inputs = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        to_say = nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORED).to(device)
        return self.network.language(inputs_embeds=inputs, use_cache=False).last_hidden_state, to_say

    def _masks(self, prompts: torch.Tensor, image: FrozenFeatures) -> torch.Tensor:
        """(n, H, W) logits; n may be 0."""
        if not len(prompts):
            return prompts.new_zeros(0, *image.size)
        low = self.network.prompted_logits(prompts, image.features.to(prompts.device))
        return self.network.upsample(low, image.resized, image.size)

    def _wanted(self, asked: AskedImage, image: FrozenFeatures) -> torch.Tensor:
        """(n, H, W), 0 or 1, of the encoded part of the image."""
        made: dict[int, Truth] = {}  # the texts of an image mostly share one truth, which is expensive to paint
        masks = []
        for exchange in asked.exchanges:
            if exchange.truth is not None:
                key = id(exchange.truth)
                made[key] = made[key] if key in made else exchange.truth()
                masks.append(image.region.of(made[key] == 1))
        stacked = np.stack(masks) if masks else np.zeros((0, *image.size), dtype=np.bool_)
        return torch.from_numpy(stacked).to(self.network.device, torch.float32)

    def _computing(self) -> AbstractContextManager[object]:
        """Autocast where the frozen base is in 16 bit, since what is trained is float32; else nothing."""
        if self.network.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.network.device.type, dtype=self.network.dtype)

    def _check_length(self, sample: Sample, room: int) -> None:
        for text, conversation in self._longest(sample):
            length = len(self._encoder.ids_and_targets(conversation)[0])
            if length > room:
                raise DataError(
                    f"{sample.name}: {text!r:.60} with its answer is {length} tokens long; "
                    f"beside the image there is room for {room}"
                )

    def _longest(self, sample: Sample) -> list[tuple[str, list[tuple[str, str]]]]:
        """The conversations about an image, each as long as it can become, and the first question of each."""
        plain = self._encoder.plain
        if sample.dialogue:
            return [
                (sample.rounds[0].text, [(plain(asked.text), plain(asked.answer or "")) for asked in sample.rounds])
            ]
        question, answer = max(REASON_QUESTIONS, key=len), max(ANSWERS, key=len)
        return [
            (asked.text, [(question.format(text=plain(asked.text)), f"{answer} {plain(asked.answer or '')}")])
            for asked in sample.rounds
        ]


def _row(asked: AskedImage, logits: torch.Tensor, encoded: FrozenFeatures) -> NDArray[np.uint8]:
    """Image, truth and prediction side by side, the question below."""
    image = image_of(asked.sample)
    exchange = next((one for one in asked.exchanges if one.truth is not None), asked.exchanges[0])
    truth = exchange.truth() == 1 if exchange.truth is not None else np.zeros(image.shape[:2], dtype=np.bool_)
    found = np.zeros_like(truth)
    if len(logits):
        encoded.region.of(found)[:] = logits[0].cpu().numpy() > 0
    scale = min(SHOWN_SIZE[0] / image.shape[1], SHOWN_SIZE[1] / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in (truth, found)]
    row = np.concatenate([small, *(draw_overlay(small, [mask]) for mask in masks)], axis=1)
    return draw_overlay(row, [], exchange.question)
