# SPDX-License-Identifier: Apache-2.0
"""LISA (arXiv 2308.00692): LLaMA + CLIP + SAM; a `[SEG]` token's hidden state becomes a mask."""

from lisa_ros.models.common.answers.steps import Answer, MaskStep, TextStep
from lisa_ros.models.common.errors import CheckpointError, PromptTooLongError
from lisa_ros.models.lisa.checkpoint import load_lisa
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage

__all__ = [
    "Answer",
    "CheckpointError",
    "EncodedImage",
    "Lisa",
    "MaskStep",
    "PromptTooLongError",
    "TextStep",
    "load_lisa",
]
