# SPDX-License-Identifier: Apache-2.0
"""Tensor names of the released checkpoints and of SegllmNetwork, and the tensors that no answer depends on."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

HIPIE = "model.segmentator.hipie."
DETR = f"{HIPIE}detr.detr."
TRANSFORMER = f"{DETR}transformer."
CLIP = "model.vision_tower.vision_tower."

CLASSIFIER = f"{DETR}class_embed."
FIT = f"{DETR}iou_head."
BOX = f"{DETR}bbox_embed."
FUSION = f"{TRANSFORMER}encoder.vl_layers.0.b_attn."

# The decoder has the same tensors under other names; a folder may have both, or either.
_SHARED = (f"{TRANSFORMER}decoder.class_embed.", CLASSIFIER), (f"{TRANSFORMER}decoder.bbox_embed.", BOX)

# Released prefix, SegllmNetwork's. The first match counts.
_PREFIXES = (
    (f"{CLIP}vision_model.", "vision_tower."),
    ("model.mm_projector.", "mm_projector."),
    ("model.mask_enc_head.", "mask_enc_head."),
    ("model.segmentator_predictor.", "segmentator_predictor."),
    (f"{DETR}backbone.0.backbone.", "hipie.backbone."),
    (f"{DETR}input_proj.", "hipie.input_proj."),
    (f"{TRANSFORMER}level_embed", "hipie.level_embed"),
    (FUSION, "hipie.encoder.fusion."),
    (f"{TRANSFORMER}encoder.layers.", "hipie.encoder.layers."),
    (f"{TRANSFORMER}enc_output", "hipie.proposals.enc_output"),
    (f"{TRANSFORMER}tgt_embed", "hipie.tgt_embed"),
    (f"{TRANSFORMER}bg_query_refs", "hipie.bg_query_refs"),
    (f"{TRANSFORMER}decoder.layers.", "hipie.decoder.layers."),
    (f"{TRANSFORMER}decoder.ref_point_head.", "hipie.decoder.ref_point_head."),
    (f"{HIPIE}detr.mask_head.", "hipie.mask_head.features."),
    (f"{HIPIE}detr.controller.", "hipie.mask_head.controller."),
    ("model.embed_tokens.", "language.embed_tokens."),
    ("model.layers.", "language.layers."),
    ("model.norm.", "language.norm."),
)

SKIPPED = (
    r"lm_head\.weight",  # SegLLM generates no text
    r"model\.vision_tower\.vision_tower\.visual_projection\.weight",  # CLIP's projection for its text model
    r"model\.segmentator\.hipie\.text_encoder\..*",  # the text tokens come from LLaMA
    r"model\.segmentator\.hipie\.criterion\..*",  # training
    r"model\.segmentator\.hipie\.detr\.(detr\.transformer\.)?resizer\..*",  # training
    r".*\.(inv_freq|position_ids)",  # computed
)
"""What is not loaded on purpose, as regular expressions of whole released names."""

_SKIPPED = re.compile("|".join(SKIPPED))


def decoder_layers(names: Iterable[str]) -> int:
    """How many layers the decoder has, by the names of its tensors; 0 where there are none."""
    return count_after(names, f"{TRANSFORMER}decoder.layers.")


def count_after(names: Iterable[str], prefix: str) -> int:
    """How many numbered parts follow a prefix: one more than the greatest number."""
    numbers = [name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)]
    return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


def renaming(names: Iterable[str]) -> dict[str, str | None]:
    """Released name -> SegllmNetwork's, for the names of a folder; None for what is not loaded.

    Unknown names are not loaded either, see `leftovers`.
    """
    names = list(names)
    layers = decoder_layers(names)
    known = set(names)
    return {name: None if _twin(name) in known - {name} else _segllm_key(_twin(name), layers) for name in names}


def sorted_out(names: Iterable[str], needed: Container[str]) -> tuple[dict[str, str | None], list[str]]:
    """What is loaded, and what is left over and reported.

    Args:
        names: of a folder's tensors.
        needed: names of SegllmNetwork's tensors.

    Returns:
        `renaming` without tensors of known parts that the network does not have, and `leftovers` with them, sorted.
    """
    rename = renaming(names)
    absent = [name for name, ours in rename.items() if ours is not None and ours not in needed]
    return rename | dict.fromkeys(absent), sorted([*leftovers(rename), *absent])


def leftovers(names: Iterable[str]) -> list[str]:
    """The names that this version neither loads nor skips on purpose, sorted."""
    names = list(names)
    layers, rename = decoder_layers(names), renaming(names)
    return sorted(
        name
        for name, ours in rename.items()
        if ours is None and not _SKIPPED.fullmatch(name) and _is_unknown(_twin(name), layers)
    )


def released_key(key: str, layers: int) -> str:
    """The name that a tensor of SegllmNetwork has in a folder whose decoder has `layers` layers."""
    for pattern, prefix in _numbered(layers):
        if key.startswith(prefix):
            return pattern + key.removeprefix(prefix)
    for prefix, ours in _PREFIXES:
        if key.startswith(ours):
            return prefix + key.removeprefix(ours)
    return key


def _twin(name: str) -> str:
    """The name that is used of a tensor that has two."""
    for prefix, first in _SHARED:
        if name.startswith(prefix):
            return first + name.removeprefix(prefix)
    return name


def _numbered(layers: int) -> list[tuple[str, str]]:
    """Parts of which there is one for each decoder layer; only the last classifier and IoU head are used."""
    last = layers - 1
    return [
        (f"{CLASSIFIER}{layers}.body.", "hipie.proposals.score."),
        (f"{CLASSIFIER}{last}.", "hipie.word_match."),
        (f"{FIT}{last}.", "hipie.iou_head."),
        (f"{BOX}{layers}.", "hipie.proposals.box."),
        (BOX, "hipie.decoder.bbox_embed."),
    ]


def _segllm_key(name: str, layers: int) -> str | None:
    if _SKIPPED.fullmatch(name):
        return None
    for prefix, ours in (*_numbered(layers), *_PREFIXES):
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return None


def _is_unknown(name: str, layers: int) -> bool:
    """Whether it is neither loaded nor a classifier or IoU head of an earlier decoder layer."""
    if _segllm_key(name, layers) is not None:
        return False
    earlier = [name.removeprefix(prefix).partition(".")[0] for prefix in (CLASSIFIER, FIT) if name.startswith(prefix)]
    return not any(number.isdecimal() and int(number) < layers for number in earlier)
