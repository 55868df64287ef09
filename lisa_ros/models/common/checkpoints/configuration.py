# SPDX-License-Identifier: Apache-2.0
"""The parts of config.json and added_tokens.json that all models share."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import CONVERTED_TO
from lisa_ros.segmentation.errors import is_kind

CONVERSION = "lisa_ros_conversion"
"""config.json's entry in a folder that `lisa convert` wrote: {"format", "quantization", "identity"}."""

CONVERSION_FORMAT = 1

UNFINISHED = "unfinished_conversion.json"
"""Lies in a folder until `lisa convert` has written all of it."""

FIRST_ADDED_ID = 3
"""0, 1 and 2 are LLaMA's <unk>, <s> and </s>."""

_LARGEST = {
    "vocab_size": 1 << 22,
    "hidden_size": 1 << 16,
    "intermediate_size": 1 << 18,
    "num_hidden_layers": 512,
    "num_attention_heads": 1024,
    "num_key_value_heads": 1024,
    "max_position_embeddings": 1 << 24,
}
"""Far beyond every published model: a larger number is a damaged file, and building such a network would not end."""


def check_folder(folder: Path, kind: str) -> None:
    """Raises a CheckpointError for what is no folder, or one that `lisa convert` has not finished.

    Args:
        folder: the checkpoint's.
        kind: for the message, such as "a LISA checkpoint".
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; {kind} is a folder with config.json in it")
    if (folder / UNFINISHED).is_file() and not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} is incomplete: repeat the `lisa convert` command that writes it, it resumes")
    own = any(any(folder.glob(pattern)) for pattern in ("config.json", "*.safetensors", "*.bin"))
    inner = [] if own else sorted(file.parent.name for file in folder.glob("*/config.json"))
    if inner:
        raise CheckpointError(f"{folder} has no config.json, but folders in it have: name one of {', '.join(inner)}")


def resolve_quantization(folder: Path, requested: str) -> str:
    """The quantization that a checkpoint folder is loaded in.

    Args:
        folder: the checkpoint's; without config.json it counts as one as released.
        requested: one of models.common.options.QUANTIZATIONS.

    Returns:
        "none", "8bit" or "4bit".

    Raises:
        CheckpointError: the folder has the weights in another quantization.
    """
    file = folder / "config.json"
    raw = read_json(file) if file.is_file() else {}
    if raw.get("quantization_config"):
        raise CheckpointError(
            f"{folder} was quantized by transformers (quantization_config in config.json), which is not read here; use "
            "the checkpoint that it was made from, quantized when it is loaded or by `lisa convert`"
        )
    stored = converted_quantization(raw, folder)
    if stored in (None, "none"):
        return "none" if requested == "auto" else requested
    if requested not in ("auto", stored):
        raise CheckpointError(
            f"{folder} has its weights in {stored}, but {requested} was requested; use {stored} or auto, "
            "or the checkpoint that it was converted from"
        )
    return str(stored)


def converted_quantization(raw: dict[str, Any], folder: Path) -> str | None:
    """The quantization of a folder that `lisa convert` wrote; None for any other folder."""
    record = raw.get(CONVERSION)
    if record is None:
        return None
    quantization = record.get("quantization") if isinstance(record, dict) else None
    if quantization not in CONVERTED_TO or record.get("format") != CONVERSION_FORMAT:
        raise CheckpointError(
            f"{folder}/config.json: {CONVERSION} is {record!r}; this version reads format {CONVERSION_FORMAT} with "
            f"{', '.join(CONVERTED_TO)}. Convert the original again"
        )
    return str(quantization)


def language_config(raw: dict[str, Any]) -> LlamaConfig:
    """The LLaMA that a config.json describes.

    Raises:
        ValueError: a number that no LLaMA has; other exceptions of Python and transformers for values of other types.
    """
    rope = {"rope_type": "default", "rope_theta": positive("rope_theta", raw.get("rope_theta") or 10000.0)}
    scaling = raw.get("rope_scaling")
    if scaling and not isinstance(scaling, dict):
        raise ValueError(f"rope_scaling is {scaling!r:.80}; an object is expected")
    if scaling:  # transformers 4.31 wrote {"type", "factor"}
        factor = positive("rope_scaling's factor", scaling["factor"])
        rope |= {"rope_type": scaling.get("rope_type") or scaling["type"], "factor": factor}
    sizes = language_sizes({"num_key_value_heads": raw.get("num_key_value_heads") or raw["num_attention_heads"], **raw})
    return LlamaConfig(
        **sizes,
        hidden_act=raw.get("hidden_act", "silu"),
        rope_parameters=rope,
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        bos_token_id=_token("bos_token_id", raw, 1),
        eos_token_id=_token("eos_token_id", raw, 2),
        pad_token_id=raw.get("pad_token_id", 0),
    )


def _token(name: str, raw: Mapping[str, Any], default: int) -> int | None:
    """A token's id in config.json, null included; a ValueError where it is outside the vocabulary."""
    number, vocabulary = raw.get(name, default), raw["vocab_size"]
    if number is not None and (type(number) is not int or not 0 <= number < vocabulary):
        raise ValueError(f"{name} is {number!r:.80}; a whole number from 0 to {vocabulary - 1} is expected")
    return number


def language_sizes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """LLaMA's sizes and its norm's epsilon, by LlamaConfig's names.

    Raises:
        KeyError: one is missing.
        ValueError: a number that no LLaMA has.
    """
    sizes = {name: raw[name] or raw["num_attention_heads"] for name in _LARGEST}
    for name, largest in _LARGEST.items():
        if type(sizes[name]) is not int or not 1 <= sizes[name] <= largest:
            raise ValueError(f"{name} is {sizes[name]!r:.80}; a whole number from 1 to {largest} is expected")
    return {**sizes, "rms_norm_eps": positive("rms_norm_eps", raw["rms_norm_eps"])}


def positive(name: str, value: Any) -> float:
    """A number of config.json as a float; a ValueError where it is no number, not finite or not above 0."""
    if not is_kind(value, int, float) or not 0 < value <= sys.float_info.max:
        raise ValueError(f"{name} is {value!r:.80}; a finite number above 0 is expected")
    return float(value)


def whole(name: str, value: Any) -> int:
    """A whole number of config.json; a ValueError where it is none, true or false, or of more than 32 bits."""
    if type(value) is not int or abs(value) >= 1 << 31:
        raise ValueError(f"{name} is {value!r:.80}; a whole number is expected")
    return value


def read_added_tokens(folder: Path, vocab_size: int, needed: Sequence[str]) -> dict[str, int]:
    """Token text -> id, from added_tokens.json.

    Raises:
        CheckpointError: the file is missing or damaged, or lacks a needed token.
    """
    path = folder / "added_tokens.json"
    tokens = read_json(path)
    check_added_tokens(tokens, f"{path}")
    absent = [token for token in needed if token not in tokens]
    if absent:
        raise CheckpointError(f"{path} lacks {', '.join(absent)}; it has {', '.join(tokens) or 'nothing'}")
    outside = {text: number for text, number in tokens.items() if not FIRST_ADDED_ID <= number < vocab_size}
    if outside:
        raise CheckpointError(
            f"{path}: ids {outside} are outside the vocabulary of {vocab_size} in config.json, or those of <unk>, <s> "
            "or </s>"
        )
    return tokens


def check_added_tokens(tokens: Mapping[str, Any], source: str) -> None:
    """Raises a CheckpointError for added tokens that cannot be told apart from text.

    Args:
        tokens: text -> id.
        source: for the message.
    """
    wrong = [text for text, number in tokens.items() if type(number) is not int or not text]
    if wrong or len(set(tokens.values())) != len(tokens):
        raise CheckpointError(f"{source} must give each token an id of its own, and no token is empty; it has {tokens}")
    short = [text for text in tokens if len(text) < 2 or any(letter.isspace() for letter in text)]
    if short:
        raise CheckpointError(
            f"{source}: {', '.join(map(repr, short))} cannot be added tokens, which have two characters or more and no "
            "white space"
        )
