# SPDX-License-Identifier: Apache-2.0
"""LIRA (arXiv 2507.06272): InternVL2 + OMG-Seg; each mask is encoded before the answer continues."""

from lisa_ros.models.common.answers.steps import Answer, MaskStep, TextStep
from lisa_ros.models.lira.answers.steps import RefinedStep, phrase_after
from lisa_ros.models.lira.checkpoint import load_lira
from lisa_ros.models.lira.decoding import Exchange, Lira
from lisa_ros.models.lira.encoded_image import EncodedImage

__all__ = [
    "Answer",
    "EncodedImage",
    "Exchange",
    "Lira",
    "MaskStep",
    "RefinedStep",
    "TextStep",
    "load_lira",
    "phrase_after",
]
