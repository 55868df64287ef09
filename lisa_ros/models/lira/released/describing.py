# SPDX-License-Identifier: Apache-2.0
"""The converted folder's config.json, from LIRA's released configurations and the shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.tokenizer import load_sentencepiece
from lisa_ros.models.common.weights.layout import Shape
from lisa_ros.models.lira.configuration import LIRA_TOKENS, OmgSizes, SefeSizes, sizes_for_json
from lisa_ros.models.lira.keys import CLASSES, LORA_SCALE
from lisa_ros.models.lira.released.pieces import Pieces, ReleasedTensors
from lisa_ros.segmentation.errors import is_kind

# Of the released networks; they cannot be read from the weights.
_OMG_IMAGE_SIZE, _OMG_HEADS, _SEFE_HEADS = 1024, 8, 32


def described(pieces: Pieces, tensors: ReleasedTensors) -> dict[str, Any]:
    """The entries of the converted folder's config.json that describe the network.

    Raises:
        CheckpointError: a file or field is missing, or two pieces do not fit together.
    """
    raw = read_json(pieces.internvl / "config.json")
    given = read_json(pieces.sizes) if pieces.sizes else {}
    rows = tensors.shape("lira", "llm.base_model.model.model.tok_embeddings.weight")[0]
    try:
        return {
            "language": {**_language(raw["llm_config"]), "vocab_size": rows},
            "vision": _vision(raw),
            "omg": sizes_for_json(_omg_sizes(tensors, given.get("omg", {}))),
            "sefe": sizes_for_json(_sefe_sizes(tensors, given.get("sefe", {}))),
            "added_tokens": _added_tokens(pieces.internvl, rows),
        }
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{pieces.internvl}/config.json has no field {error}; InternVL2's has it") from error
    except (AttributeError, TypeError, ValueError) as error:
        files = " or ".join(str(file) for file in (pieces.internvl / "config.json", pieces.sizes) if file)
        raise CheckpointError(f"{files} has a value that no LIRA has: {error}") from error


def lora_scale(pieces: Pieces) -> float:
    """The language model's alpha / r: that of the released sizes, unless a file beside the pieces has another.

    Raises:
        CheckpointError: it is not a positive number.
    """
    given = read_json(pieces.sizes).get("llm", {}) if pieces.sizes else {}
    scale = given.get("lora_scale", LORA_SCALE) if isinstance(given, dict) else given
    if not is_kind(scale, int, float) or not 0 < scale < math.inf:
        raise CheckpointError(f"{pieces.sizes}: llm.lora_scale is {scale!r}; a positive number is right")
    return float(scale)


def _language(raw: Mapping[str, Any]) -> dict[str, Any]:
    if "internlm2" not in str(raw.get("model_type", "")):
        raise CheckpointError(f"the language model is {raw.get('model_type')!r}; LIRA's is internlm2")
    names = (
        "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
        "max_position_embeddings rms_norm_eps rope_theta"
    )
    return {name: raw[name] for name in names.split()}


def _vision(raw: Mapping[str, Any]) -> dict[str, Any]:
    vision = raw["vision_config"]
    if vision.get("qk_normalization") or raw.get("ps_version") != "v2" or raw.get("select_layer", -1) != -1:
        raise CheckpointError(
            "InternVL2's vision encoder differs from LIRA's, which has plain attention, ps_version v2, last layer"
        )
    names = (
        "hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act norm_type layer_norm_eps "
        "image_size patch_size"
    )
    return {**{name: vision[name] for name in names.split()}, "attention_bias": bool(vision["qkv_bias"])}


def _omg_sizes(tensors: ReleasedTensors, given: Mapping[str, Any]) -> OmgSizes:
    def shape(name: str) -> Shape:
        return tensors.shape("omg", name)

    head, stages = "panoptic_head", [f"backbone.layer{i}" for i in range(1, 5)]
    classes = tensors.shape(*CLASSES)
    return OmgSizes(
        image_size=int(given.get("image_size", _OMG_IMAGE_SIZE)),
        stage_widths=_four(shape(f"{stage}.blocks.0.gamma")[0] for stage in stages),
        stage_depths=_four(tensors.count("omg", rf"{re.escape(stage)}\.blocks\.(\d+)\.") for stage in stages),
        width=shape(f"{head}.query_feat.weight")[1],
        heads=int(given.get("num_heads", _OMG_HEADS)),
        encoder_layers=tensors.count("omg", rf"{head}\.pixel_decoder\.encoder\.layers\.(\d+)\."),
        encoder_ffn=shape(f"{head}.pixel_decoder.encoder.layers.0.ffn.layers.0.0.weight")[0],
        decoder_layers=tensors.count("omg", rf"{head}\.transformer_decoder\.layers\.(\d+)\."),
        decoder_ffn=shape(f"{head}.transformer_decoder.layers.0.ffn.layers.0.0.weight")[0],
        queries=shape(f"{head}.query_feat.weight")[0],
        classes=classes[0],
        prototypes=classes[1],
        text_width=classes[2],
    )


def _four(numbers: Iterable[int]) -> tuple[int, int, int, int]:
    one, two, three, four = numbers
    return one, two, three, four


def _sefe_sizes(tensors: ReleasedTensors, given: Mapping[str, Any]) -> SefeSizes:
    return SefeSizes(
        hidden=tensors.shape("lira", "projector.model.query_proj.weight")[0],
        heads=int(given.get("heads", _SEFE_HEADS)),
        text2vision=tensors.shape("lira", "projector_text2vision.model.0.weight")[0],
    )


def _added_tokens(internvl: Path, rows: int) -> dict[str, int]:
    """Token text -> id: InternVL2's, followed by LIRA's."""
    decoder = read_json(internvl / "tokenizer_config.json").get("added_tokens_decoder", {})
    tokens = {str(entry["content"]): int(number) for number, entry in decoder.items()}
    if (internvl / "added_tokens.json").is_file():
        tokens |= read_json(internvl / "added_tokens.json")
    pieces = int(load_sentencepiece(internvl / "tokenizer.model").get_piece_size())
    length = max([pieces, *(number + 1 for number in tokens.values())])
    if length + len(LIRA_TOKENS) != rows:
        raise CheckpointError(
            f"LIRA's vocabulary has {rows} rows, but {internvl.name}'s tokenizer has {length} tokens: with LIRA's "
            f"{len(LIRA_TOKENS)} it must be {length + len(LIRA_TOKENS)}"
        )
    return tokens | {token: length + i for i, token in enumerate(LIRA_TOKENS)}
