# SPDX-License-Identifier: Apache-2.0
"""Reads and checks config.json and added_tokens.json of a SegLLM folder.

Its model_type "llava" is SegLLM's own and not the one that transformers knows by that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lisa_ros.models.common.checkpoints.configuration import (
    converted_quantization,
    language_config,
    read_added_tokens,
    whole,
)
from lisa_ros.models.common.checkpoints.llava_configuration import LlavaConfig, parse_config
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError

SLOT_TOKEN = "<video>"
"""Stands in a prompt for each visual input: a patch of the image, a mask, a box."""
SEG_TOKEN = "<seg>"


@dataclass(frozen=True, kw_only=True)
class SegllmConfig(LlavaConfig):
    """A SegLLM checkpoint's description of itself."""

    @property
    def slot_token_id(self) -> int:
        """The id of `<video>`."""
        return self.added_tokens[SLOT_TOKEN]


def read_configuration(folder: Path) -> SegllmConfig:
    """Reads config.json and added_tokens.json of a SegLLM folder.

    Raises:
        CheckpointError: a file or field is missing or has a value that this SegLLM does not have.
    """
    raw = read_json(folder / "config.json")
    _check_kind(raw, folder)
    return parse_config(folder, "SegLLM", partial(_parse, folder), raw)


def _parse(folder: Path, raw: dict[str, Any]) -> SegllmConfig:
    return SegllmConfig(
        language=language_config(raw),
        vision_tower=str(raw.get("mm_vision_tower") or raw.get("vision_tower") or ""),
        vision_width=whole("mm_hidden_size", raw["mm_hidden_size"]),
        select_layer=whole("mm_vision_select_layer", raw.get("mm_vision_select_layer", -2)),
        added_tokens=read_added_tokens(folder, int(raw["vocab_size"]), [SLOT_TOKEN, SEG_TOKEN]),
        converted=converted_quantization(raw, folder),
    )


def _check_kind(raw: dict[str, Any], folder: Path) -> None:
    for field, right in (("segmentator", "hipie"), ("mm_projector_type", "mlp2x_gelu")):
        if raw.get(field) != right:
            raise CheckpointError(
                f"{folder}/config.json: {field} is {raw.get(field)!r}; the released SegLLM checkpoints have {right!r}, "
                "and no other can be loaded"
            )
