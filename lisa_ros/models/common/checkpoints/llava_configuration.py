# SPDX-License-Identifier: Apache-2.0
"""The configuration that models of LLaVA's layout share: LLaMA, a projector, and CLIP by the name of its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from transformers import LlamaConfig

from lisa_ros.models.common.errors import CheckpointError

_Config = TypeVar("_Config")


@dataclass(frozen=True, kw_only=True)
class LlavaConfig:
    """A checkpoint's description of itself.

    Attributes:
        language: the LLaMA decoder's configuration.
        vision_tower: name of the CLIP folder, as config.json has it.
        vision_width: width of the CLIP features that the projector takes.
        select_layer: which of CLIP's hidden states is projected (-2 in the released checkpoints).
        added_tokens: token text -> id, from added_tokens.json.
        converted: one of CONVERTED_TO, how `lisa convert` wrote LLaMA's linear layers; None: the folder is as released.
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


def parse_config(folder: Path, model: str, parse: Callable[[dict[str, Any]], _Config], raw: dict[str, Any]) -> _Config:
    """Parses the object in config.json.

    Args:
        folder: the checkpoint's, for the message.
        model: the model's name, for the message.
        parse: object -> configuration; may raise anything.
        raw: the object.

    Raises:
        CheckpointError: a field is missing, or has a value that this model does not have.
    """
    try:
        return parse(raw)
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{folder}/config.json has no field {error}; {model}'s config.json has it") from error
    except Exception as error:  # whatever transformers and Python raise for a value of another type
        raise CheckpointError(f"{folder}/config.json has a value that no {model} has: {error}") from error
