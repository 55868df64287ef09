# SPDX-License-Identifier: Apache-2.0
"""The parts of config.json and added_tokens.json that all models share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import CONVERTED_TO

CONVERSION = "lisa_ros_conversion"
"""config.json's entry in a folder that `lisa convert` wrote: {"format", "quantization"}."""


CONVERSION_FORMAT = 1


UNFINISHED = "unfinished_conversion.json"
"""Lies in a folder as long as `lisa convert` has not written all of it."""


FIRST_ADDED_ID = 3
"""0, 1 and 2 are LLaMA's <unk>, <s> and </s>."""


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
