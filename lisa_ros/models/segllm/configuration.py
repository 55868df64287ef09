# SPDX-License-Identifier: Apache-2.0
"""What a SegLLM folder's config.json and added_tokens.json say, checked.

Its model_type "llava" is SegLLM's own, not the one that transformers knows by that name, so the file is read as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from lisa_ros.models.common.configuration import converted_quantization, language_config, read_added_tokens, read_json
from lisa_ros.models.common.errors import CheckpointError

SLOT_TOKEN = "<video>"
"""Stands wherever the model is shown something: the picture's patches, a mask, a box."""
SEG_TOKEN = "<seg>"


@dataclass(frozen=True)
class SegllmConfig:
    """A SegLLM checkpoint's own description of itself.

    Attributes:
        language: the LLaMA decoder's configuration.
        vision_tower: name of the CLIP folder, as config.json has it.
        vision_width: width of the CLIP features that the projector takes.
        select_layer: which of CLIP's hidden states is projected (-2 in the released checkpoints).
        added_tokens: token text -> id, from added_tokens.json.
        converted: as LisaConfig.converted.
    """

    language: LlamaConfig
    vision_tower: str
    vision_width: int
    select_layer: int
    added_tokens: dict[str, int]
    converted: str | None = None

    @property
    def stored(self) -> str:
        """The quantization that LLaMA's linear layers have in the files, one of CONVERTED_TO."""
        return self.converted or "none"

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
    try:
        return SegllmConfig(
            language=language_config(raw),
            vision_tower=str(raw.get("mm_vision_tower") or raw.get("vision_tower") or ""),
            vision_width=int(raw["mm_hidden_size"]),
            select_layer=int(raw.get("mm_vision_select_layer", -2)),
            added_tokens=read_added_tokens(folder, int(raw["vocab_size"]), [SLOT_TOKEN, SEG_TOKEN]),
            converted=converted_quantization(raw, folder),
        )
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{folder}/config.json has no field {error}; SegLLM's config.json has it") from error
    except Exception as error:  # whatever transformers and Python raise for a value of another kind
        raise CheckpointError(f"{folder}/config.json has a value that no SegLLM has: {error}") from error


def _check_kind(raw: dict[str, Any], folder: Path) -> None:
    for field, right in (("segmentator", "hipie"), ("mm_projector_type", "mlp2x_gelu")):
        if raw.get(field) != right:
            raise CheckpointError(
                f"{folder}/config.json: {field} is {raw.get(field)!r}; the released SegLLM checkpoints have {right!r}, "
                "and no other can be loaded"
            )
