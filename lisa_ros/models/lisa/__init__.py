# SPDX-License-Identifier: Apache-2.0
"""LISA (arXiv 2308.00692): LLaMA + CLIP + SAM; a `[SEG]` token's hidden state becomes a mask."""

from lisa_ros.models.lisa.checkpoint import load_lisa
from lisa_ros.models.lisa.decoding import Answer, Lisa, MaskStep, PromptTooLongError, TextStep
from lisa_ros.models.lisa.errors import CheckpointError
from lisa_ros.models.lisa.picture import Picture

__all__ = [
    "Answer",
    "CheckpointError",
    "Lisa",
    "MaskStep",
    "Picture",
    "PromptTooLongError",
    "TextStep",
    "load_lisa",
]
