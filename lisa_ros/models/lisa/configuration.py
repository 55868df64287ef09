# SPDX-License-Identifier: Apache-2.0
"""What a LISA folder's config.json and added_tokens.json say, checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from lisa_ros.models.lisa.errors import CheckpointError
from lisa_ros.models.options import CONVERTED_TO

SEG_TOKEN = "[SEG]"
IMAGE_START_TOKEN = "<im_start>"
IMAGE_END_TOKEN = "<im_end>"

CONVERSION = "lisa_ros_conversion"
"""config.json's entry in a folder that `lisa convert` wrote: {"format", "quantization"}."""
CONVERSION_FORMAT = 1

UNFINISHED = "unfinished_conversion.json"
"""Lies in a folder as long as `lisa convert` has not written all of it."""

FIRST_ADDED_ID = 3
"""0, 1 and 2 are LLaMA's <unk>, <s> and </s>."""


@dataclass(frozen=True)
class LisaConfig:
    """A LISA checkpoint's own description of itself.

    Attributes:
        language: the LLaMA decoder's configuration.
        vision_tower: name of the CLIP folder, as config.json has it.
        vision_width: width of the CLIP features that the projector takes.
        select_layer: which of CLIP's hidden states is projected (-2 in the released checkpoints).
        wrap_image: whether `<im_start>` and `<im_end>` stand around the picture.
        out_dim: width of the `[SEG]` embedding that SAM's mask decoder is prompted with.
        added_tokens: token text -> id, from added_tokens.json.
        converted: one of CONVERTED_TO, how `lisa convert` wrote LLaMA's linear layers; None: the folder is as released.
    """

    language: LlamaConfig
    vision_tower: str
    vision_width: int
    select_layer: int
    wrap_image: bool
    out_dim: int
    added_tokens: dict[str, int]
    converted: str | None = None

    @property
    def stored(self) -> str:
        """The quantization that LLaMA's linear layers have in the files, one of CONVERTED_TO."""
        return self.converted or "none"

    @property
    def seg_token_id(self) -> int:
        """The id of `[SEG]`, by name: the released checkpoints place it differently (7B: last, 13B: first)."""
        return self.added_tokens[SEG_TOKEN]


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a checkpoint folder.

    Raises:
        CheckpointError: the file is missing, is not JSON, or does not hold an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a checkpoint folder has it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, an object is expected")
    return value


def read_configuration(folder: Path) -> LisaConfig:
    """Reads config.json and added_tokens.json of a LISA folder.

    Raises:
        CheckpointError: a file or field is missing or has a value LISA does not have.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; a LISA checkpoint is a folder with config.json in it")
    if (folder / UNFINISHED).is_file() and not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} is not whole yet: run the `lisa convert` that writes it again, it goes on")
    raw = read_json(folder / "config.json")
    _check_projector(raw, folder)
    wrap_image = bool(raw.get("mm_use_im_start_end", True))
    try:
        return LisaConfig(
            language=language_config(raw),
            # As upstream: vision_tower wins, mm_vision_tower may be a path of the machine it was trained on.
            vision_tower=str(raw.get("vision_tower") or raw.get("mm_vision_tower") or ""),
            vision_width=int(raw["mm_hidden_size"]),
            select_layer=int(raw.get("mm_vision_select_layer", -2)),
            wrap_image=wrap_image,
            out_dim=int(raw.get("out_dim", 256)),
            added_tokens=read_added_tokens(folder, int(raw["vocab_size"]), _needed_tokens(wrap_image)),
            converted=converted_quantization(raw, folder),
        )
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{folder}/config.json has no field {error}; LISA's config.json has it") from error
    except Exception as error:  # whatever transformers and Python raise for a value of another kind
        raise CheckpointError(f"{folder}/config.json has a value that no LISA has: {error}") from error


def settled_quantization(folder: Path, asked: str) -> str:
    """What a quantization that is asked for comes to with a checkpoint folder.

    Args:
        folder: the checkpoint's; where it has no config.json, it counts as one as released.
        asked: one of models.options.QUANTIZATIONS.

    Returns:
        "none", "8bit" or "4bit".

    Raises:
        CheckpointError: the folder has the weights in another quantization.
    """
    file = folder / "config.json"
    stored = converted_quantization(read_json(file), folder) if file.is_file() else None
    if stored in (None, "none"):
        return "none" if asked == "auto" else asked
    if asked not in ("auto", stored):
        raise CheckpointError(
            f"{folder} has its weights in {stored}, and {asked} is asked for; use {stored} or auto, "
            "or the checkpoint that it was converted from"
        )
    return str(stored)


def converted_quantization(raw: dict[str, Any], folder: Path) -> str | None:
    """The quantization of a folder that `lisa convert` wrote; None: of another."""
    record = raw.get(CONVERSION)
    if record is None:
        return None
    quantization = record.get("quantization") if isinstance(record, dict) else None
    if quantization not in CONVERTED_TO or record.get("format") != CONVERSION_FORMAT:
        raise CheckpointError(
            f"{folder}/config.json: {CONVERSION} is {record!r}; this version reads format {CONVERSION_FORMAT} of "
            f"{', '.join(CONVERTED_TO)}. Convert the original anew"
        )
    return str(quantization)


def _check_projector(raw: dict[str, Any], folder: Path) -> None:
    kind = raw.get("mm_projector_type") or "linear"
    if kind != "linear":
        raise CheckpointError(
            f"{folder}/config.json: mm_projector_type is {kind!r}; LISA has one linear layer there "
            "(LISA++ and LLaVA-1.5 checkpoints are another model)"
        )


def language_config(raw: dict[str, Any]) -> LlamaConfig:
    """The LLaMA that a config.json describes; raises what Python and transformers do for values that it has not."""
    rope = {"rope_type": "default", "rope_theta": float(raw.get("rope_theta") or 10000.0)}
    scaling = raw.get("rope_scaling")
    if scaling:  # transformers 4.31 wrote {"type", "factor"}
        rope |= {"rope_type": scaling.get("rope_type") or scaling["type"], "factor": float(scaling["factor"])}
    return LlamaConfig(
        vocab_size=raw["vocab_size"],
        hidden_size=raw["hidden_size"],
        intermediate_size=raw["intermediate_size"],
        num_hidden_layers=raw["num_hidden_layers"],
        num_attention_heads=raw["num_attention_heads"],
        num_key_value_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
        hidden_act=raw.get("hidden_act", "silu"),
        max_position_embeddings=raw["max_position_embeddings"],
        rms_norm_eps=raw["rms_norm_eps"],
        rope_parameters=rope,
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        bos_token_id=raw.get("bos_token_id", 1),
        eos_token_id=raw.get("eos_token_id", 2),
        pad_token_id=raw.get("pad_token_id", 0),
    )


def _needed_tokens(wrap_image: bool) -> list[str]:
    return [SEG_TOKEN, IMAGE_START_TOKEN, IMAGE_END_TOKEN] if wrap_image else [SEG_TOKEN]


def read_added_tokens(folder: Path, vocab_size: int, needed: Sequence[str]) -> dict[str, int]:
    """Token text -> id, from added_tokens.json.

    Raises:
        CheckpointError: the file is missing or damaged, or lacks a token that is needed.
    """
    path = folder / "added_tokens.json"
    tokens = read_json(path)
    wrong = [text for text, number in tokens.items() if not text or type(number) is not int]
    if wrong or len(set(tokens.values())) != len(tokens):
        raise CheckpointError(f"{path} must give each token, none empty, an id of its own; it has {tokens}")
    absent = [token for token in needed if token not in tokens]
    if absent:
        raise CheckpointError(f"{path} lacks {', '.join(absent)}; it has {', '.join(tokens) or 'nothing'}")
    outside = {text: number for text, number in tokens.items() if not FIRST_ADDED_ID <= number < vocab_size}
    if outside:
        raise CheckpointError(
            f"{path}: ids {outside} lie outside the vocabulary of {vocab_size} in config.json, or on <unk>, <s> or </s>"
        )
    return tokens
