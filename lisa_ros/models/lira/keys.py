# SPDX-License-Identifier: Apache-2.0
"""How each tensor of LiraNetwork is made of released tensors.

There are four released pieces: LIRA's trained part ("lira"), InternVL2 ("internvl"), OMG-Seg ("omg") and the
embeddings of its class names ("classes"). A released tensor is identified by its piece and its name there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from lisa_ros.models.lira.configuration import LiraConfig

LORA_SCALE = 2.0
"""alpha / r of both released sizes: 256 / 128 and 512 / 256. No released file has it."""

Released = tuple[str, str]
"""Piece and name."""

CLASSES = ("classes", "embeddings")
"""The one tensor of the fourth piece."""


@dataclass(frozen=True)
class Recipe:
    """How a tensor is made.

    Attributes:
        sources: the released tensors.
        make: computes the tensor from them.
    """

    sources: tuple[Released, ...]
    make: Callable[..., torch.Tensor]


# LiraNetwork's name -> piece and released name. The first pattern that matches the whole name counts.
_COPIES = (
    (r"language\.embed_tokens\.weight", "lira", r"llm.base_model.model.model.tok_embeddings.weight"),
    (r"language\.norm\.weight", "internvl", r"language_model.model.norm.weight"),
    (
        r"language\.layers\.(\d+)\.input_layernorm\.weight",
        "internvl",
        r"language_model.model.layers.\1.attention_norm.weight",
    ),
    (
        r"language\.layers\.(\d+)\.post_attention_layernorm\.weight",
        "internvl",
        r"language_model.model.layers.\1.ffn_norm.weight",
    ),
    (r"internvl\.vision\.embeddings\.cls_token", "internvl", r"vision_model.embeddings.class_embedding"),
    (
        r"internvl\.vision\.embeddings\.patch_embeddings\.projection\.(.+)",
        "internvl",
        r"vision_model.embeddings.patch_embedding.\1",
    ),
    (r"internvl\.vision\.embeddings\.position_embeddings", "internvl", r"vision_model.embeddings.position_embedding"),
    (
        r"internvl\.vision\.encoder\.layer\.(\d+)\.attention\.projection_layer\.(.+)",
        "internvl",
        r"vision_model.encoder.layers.\1.attn.proj.\2",
    ),
    (r"internvl\.vision\.encoder\.layer\.(\d+)\.mlp\.(.+)", "internvl", r"vision_model.encoder.layers.\1.mlp.\2"),
    (
        r"internvl\.vision\.encoder\.layer\.(\d+)\.layernorm_before\.(.+)",
        "internvl",
        r"vision_model.encoder.layers.\1.norm1.\2",
    ),
    (
        r"internvl\.vision\.encoder\.layer\.(\d+)\.layernorm_after\.(.+)",
        "internvl",
        r"vision_model.encoder.layers.\1.norm2.\2",
    ),
    (r"internvl\.vision\.encoder\.layer\.(\d+)\.lambda_(\d)", "internvl", r"vision_model.encoder.layers.\1.ls\2"),
    (r"internvl\.mlp1\.(.+)", "internvl", r"mlp1.\1"),
    (r"omg\.backbone\.embeddings\.patch_embeddings\.(.+)", "omg", r"backbone.stem.0.\1"),
    (r"omg\.backbone\.embeddings\.layernorm\.(.+)", "omg", r"backbone.stem.1.\1"),
    (r"omg\.pixel_decoder\.input_projections\.(\d)\.0\.(.+)", "omg", r"pixel_decoder.input_convs.\1.conv.\2"),
    (r"omg\.pixel_decoder\.input_projections\.(\d)\.1\.(.+)", "omg", r"pixel_decoder.input_convs.\1.gn.\2"),
    (r"omg\.pixel_decoder\.adapter_1\.0\.(.+)", "omg", r"pixel_decoder.lateral_convs.0.conv.\1"),
    (r"omg\.pixel_decoder\.adapter_1\.1\.(.+)", "omg", r"pixel_decoder.lateral_convs.0.gn.\1"),
    (r"omg\.pixel_decoder\.layer_1\.0\.(.+)", "omg", r"pixel_decoder.output_convs.0.conv.\1"),
    (r"omg\.pixel_decoder\.layer_1\.1\.(.+)", "omg", r"pixel_decoder.output_convs.0.gn.\1"),
    (r"omg\.pixel_decoder\.mask_projection\.(.+)", "omg", r"pixel_decoder.mask_feature.\1"),
    (r"omg\.pixel_decoder\.level_embed", "omg", r"pixel_decoder.level_encoding.weight"),
    (r"omg\.pixel_decoder\.(encoder\.layers\.\d+)\.self_attn_layer_norm\.(.+)", "omg", r"pixel_decoder.\1.norms.0.\2"),
    (r"omg\.pixel_decoder\.(encoder\.layers\.\d+)\.final_layer_norm\.(.+)", "omg", r"pixel_decoder.\1.norms.1.\2"),
    (r"omg\.pixel_decoder\.(encoder\.layers\.\d+)\.fc1\.(.+)", "omg", r"pixel_decoder.\1.ffn.layers.0.0.\2"),
    (r"omg\.pixel_decoder\.(encoder\.layers\.\d+)\.fc2\.(.+)", "omg", r"pixel_decoder.\1.ffn.layers.1.\2"),
    (r"omg\.pixel_decoder\.(encoder\.layers\.\d+\.self_attn\..+)", "omg", r"pixel_decoder.\1"),
    (r"omg\.decoder\.level_embed", "omg", r"level_embed.weight"),
    (r"omg\.decoder\.(layers\.\d+\.\w+_attn)\.(.+)", "omg", r"transformer_decoder.\1.attn.\2"),
    (r"omg\.decoder\.(layers\.\d+)\.ffn\.0\.(.+)", "omg", r"transformer_decoder.\1.ffn.layers.0.0.\2"),
    (r"omg\.decoder\.(layers\.\d+)\.ffn\.2\.(.+)", "omg", r"transformer_decoder.\1.ffn.layers.1.\2"),
    (r"omg\.decoder\.(layers\.\d+\.norms\..+|post_norm\..+)", "omg", r"transformer_decoder.\1"),
    (r"omg\.decoder\.(mask_embed\..+)", "omg", r"\1"),
    (r"omg\.class_head\.((?:mask_pooling_proj|cls_proj)\..+)", "omg", r"\1"),
    (r"omg\.class_head\.class_embeddings", *CLASSES),
    (r"omg\.query_feat", "omg", r"query_feat.weight"),
    (r"omg\.query_pos", "omg", r"query_embed.weight"),
    (r"sefe\.pixel_proj\.(.+)", "lira", r"projector.model.model_feat.\1"),
    (r"sefe\.object_proj\.0\.(.+)", "lira", r"projector.model.query_proj.\1"),
    (r"sefe\.object_proj\.1\.(.+)", "lira", r"projector.model.model.0.\1"),
    (r"sefe\.object_proj\.3\.(.+)", "lira", r"projector.model.model.2.\1"),
    (r"sefe\.attention\.(.+)", "lira", r"projector.model.cross_beforellm.multihead_attn.\1"),
    (r"sefe\.norm_query\.(.+)", "lira", r"projector.model.cross_beforellm.norm1.\1"),
    (r"sefe\.norm_memory\.(.+)", "lira", r"projector.model.cross_beforellm.norm2.\1"),
    (r"sefe\.separator_tiles", "lira", r"projector.model.seperate_embed_internvl.weight"),
    (r"sefe\.separator_pixels", "lira", r"projector.model.seperate_embed.weight"),
    (r"text2vision\.(.+)", "lira", r"projector_text2vision.model.\1"),
)

_MERGED = {
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}
_CONVNEXT = {
    "dwconv": "conv_dw",
    "layernorm": "norm",
    "pwconv1": "mlp.fc1",
    "pwconv2": "mlp.fc2",
    "layer_scale_parameter": "gamma",
}
_HEAD = "panoptic_head."

# Unused tensors of the released files: vocabularies that LIRA trained again, OMG-Seg's heads for other tasks, and the
# last projection of OpenCLIP's trunk.
_UNUSED = re.compile(
    r"internvl:language_model\.(model\.tok_embeddings|output)\.weight"
    r"|omg:panoptic_head\.(iou_embed|mask_tokens|pb_embedding|pos_linear)\..+"
    r"|omg:backbone\.head\..+"
)


def is_unused(released: Released) -> bool:
    """Whether a released tensor is known to be unused."""
    return _UNUSED.fullmatch(":".join(released)) is not None


def recipe_of(key: str, config: LiraConfig, lora_scale: float = LORA_SCALE) -> Recipe:
    """How a tensor of LiraNetwork is made.

    Args:
        key: its name.
        config: of the network.
        lora_scale: alpha / r of the language model's LoRA.

    Raises:
        KeyError: no such tensor is known.
    """
    if recipe := _language(key, config, lora_scale) or _vision_attention(key) or _trunk(key):
        return recipe
    for pattern, piece, released in _COPIES:
        if match := re.fullmatch(pattern, key):
            name = match.expand(released)
            in_head = piece == "omg" and not name.startswith("backbone.")
            return Recipe(((piece, _HEAD + name if in_head else name),), _same)
    raise KeyError(key)


def _language(key: str, config: LiraConfig, scale: float) -> Recipe | None:
    """The language model's linear layers: base and LoRA, merged."""
    merge = partial(merged, scale=scale)
    if key == "lm_head.weight":
        lira = "llm.base_model.model.output"
        return Recipe((("lira", f"{lira}.base_layer.weight"), *_lora(lira)), merge)
    match = re.fullmatch(r"language\.layers\.(\d+)\.((self_attn|mlp)\.(\w)\w*_proj)\.weight", key)
    if match is None:
        return None
    one = f"layers.{match[1]}.{_MERGED.get(match[2], 'attention.wqkv')}"
    sources = (("internvl", f"language_model.model.{one}.weight"), *_lora(f"llm.base_model.model.model.{one}"))
    if match[2] in _MERGED:
        return Recipe(sources, merge)
    heads, pairs = config.language.num_attention_heads, int(config.language.num_key_value_heads or 0)
    return Recipe(sources, partial(_part_of_wqkv, match[4], heads, pairs, merge))


def _lora(prefix: str) -> tuple[Released, Released]:
    return ("lira", f"{prefix}.lora_A.default.weight"), ("lira", f"{prefix}.lora_B.default.weight")


def _vision_attention(key: str) -> Recipe | None:
    match = re.fullmatch(r"internvl\.vision\.encoder\.layer\.(\d+)\.attention\.([qkv])_proj\.(.+)", key)
    if match is None:
        return None
    source = ("internvl", f"vision_model.encoder.layers.{match[1]}.attn.qkv.{match[3]}")
    return Recipe((source,), partial(_third, "qkv".index(match[2])))


def _trunk(key: str) -> Recipe | None:
    match = re.fullmatch(r"omg\.backbone\.stages\.(\d)\.(downsampling_layer|layers)\.(\d+)\.(\w+)(?:\.(.+))?", key)
    if match is None:
        return None
    stage, kind, number, name, last = match.groups()
    layer = f"backbone.layer{int(stage) + 1}"
    if kind == "downsampling_layer":
        return Recipe((("omg", f"{layer}.downsample.{number}.{name}"),), _same)
    block = f"{layer}.blocks.{number}.{_CONVNEXT[name]}" + (f".{last}" if last else "")
    return Recipe((("omg", block),), _same)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _third(index: int, qkv: torch.Tensor) -> torch.Tensor:
    return qkv.chunk(3)[index]


def merged(base: torch.Tensor, lora_a: torch.Tensor, lora_b: torch.Tensor, scale: float = LORA_SCALE) -> torch.Tensor:
    """A weight (out, in) with its LoRA: base + scale * B A, added in float32 and rounded once."""
    return (base.float() + scale * (lora_b.float() @ lora_a.float())).to(base.dtype)


def _part_of_wqkv(
    part: str,
    heads: int,
    pairs: int,
    merge: Callable[..., torch.Tensor],
    base: torch.Tensor,
    lora_a: torch.Tensor,
    lora_b: torch.Tensor,
) -> torch.Tensor:
    """Queries, keys or values of InternLM2's fused layer, where each key-value head follows its queries."""
    fused = merge(base, lora_a, lora_b)
    groups = heads // pairs
    rows = fused.reshape(pairs, groups + 2, -1, fused.shape[-1])
    chosen = {"q": slice(0, groups), "k": slice(groups, groups + 1), "v": slice(groups + 1, groups + 2)}[part]
    return rows[:, chosen].reshape(-1, fused.shape[-1])
