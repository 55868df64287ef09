# SPDX-License-Identifier: Apache-2.0
"""Names of tensors: the released checkpoints' and LisaNetwork's."""

from __future__ import annotations

from lisa_ros.models.lisa.sam import network as sam

CLIP_PREFIX = "vision_model."
VISION_PREFIX = "vision_tower."
UNKNOWN_PREFIX = "unknown."

# Released prefix, LisaNetwork's prefix. The first match counts.
_PREFIXES = (
    (sam.KEY_PREFIX, "visual_model."),
    ("model.mm_projector.", "mm_projector."),
    ("model.text_hidden_fcs.0.", "text_hidden_fcs."),
    ("lm_head.", "lm_head."),
    ("model.", "language."),
)


def lisa_key(released: str) -> str | None:
    """LisaNetwork's name of a tensor in a LISA folder; None for a tensor that is computed, not loaded."""
    if released.endswith(".rotary_emb.inv_freq"):
        return None
    for prefix, ours in _PREFIXES:
        if released.startswith(prefix):
            return ours + released.removeprefix(prefix)
    return UNKNOWN_PREFIX + released


def clip_key(released: str) -> str | None:
    """LisaNetwork's name of a tensor in a CLIP folder; None for a tensor that is not needed.

    A whole CLIP has a text model and projections, too; position_ids are counted, not learned.
    """
    if not released.startswith(CLIP_PREFIX) or released.endswith(".position_ids"):
        return None
    return VISION_PREFIX + released.removeprefix(CLIP_PREFIX)


def released_key(key: str) -> str:
    """The name that a tensor of LisaNetwork has in a LISA or CLIP folder."""
    if key.startswith(VISION_PREFIX):
        return CLIP_PREFIX + key.removeprefix(VISION_PREFIX)
    for prefix, ours in _PREFIXES:
        if key.startswith(ours):
            return prefix + key.removeprefix(ours)
    return key
