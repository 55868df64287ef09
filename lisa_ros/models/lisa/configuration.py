# SPDX-License-Identifier: Apache-2.0
"""What a LISA folder's config.json and added_tokens.json say, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from lisa_ros.models.common.configuration import (
    UNFINISHED,
    converted_quantization,
    language_config,
    read_added_tokens,
    read_json,
)
from lisa_ros.models.common.errors import CheckpointError

SEG_TOKEN = "[SEG]"
IMAGE_START_TOKEN = "<im_start>"
IMAGE_END_TOKEN = "<im_end>"


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
        point_prompts: whether SAM's decoder was trained with points and boxes, as that of the released checkpoints was;
            config.json of a checkpoint that was not says `"lisa_ros_point_prompts": false`.
        converted: one of CONVERTED_TO, how `lisa convert` wrote LLaMA's linear layers; None: the folder is as released.
    """

    language: LlamaConfig
    vision_tower: str
    vision_width: int
    select_layer: int
    wrap_image: bool
    out_dim: int
    added_tokens: dict[str, int]
    point_prompts: bool = True
    converted: str | None = None

    @property
    def stored(self) -> str:
        """The quantization that LLaMA's linear layers have in the files, one of CONVERTED_TO."""
        return self.converted or "none"

    @property
    def seg_token_id(self) -> int:
        """The id of `[SEG]`, by name: the released checkpoints place it differently (7B: last, 13B: first)."""
        return self.added_tokens[SEG_TOKEN]


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
            point_prompts=bool(raw.get("lisa_ros_point_prompts", True)),
            converted=converted_quantization(raw, folder),
        )
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{folder}/config.json has no field {error}; LISA's config.json has it") from error
    except Exception as error:  # whatever transformers and Python raise for a value of another kind
        raise CheckpointError(f"{folder}/config.json has a value that no LISA has: {error}") from error


def _check_projector(raw: dict[str, Any], folder: Path) -> None:
    kind = raw.get("mm_projector_type") or "linear"
    if kind != "linear":
        raise CheckpointError(
            f"{folder}/config.json: mm_projector_type is {kind!r}; LISA has one linear layer there "
            "(LISA++ and LLaVA-1.5 checkpoints are another model)"
        )


def _needed_tokens(wrap_image: bool) -> list[str]:
    return [SEG_TOKEN, IMAGE_START_TOKEN, IMAGE_END_TOKEN] if wrap_image else [SEG_TOKEN]
