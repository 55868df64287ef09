# SPDX-License-Identifier: Apache-2.0
"""The CLIP that a checkpoint names: finds and checks its folder, and computes the layers that are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig

from lisa_ros.models.common.checkpoints.hub import VISION_TOWER_FILES, find_folder
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.preprocessing import ClipPreprocessing

MAX_LAYERS = 512
"""Far beyond every published CLIP: a larger number is a damaged file."""


def find_vision_tower(folder: Path, named: str, chosen: str | None = None) -> Path:
    """The CLIP folder of a checkpoint.

    Args:
        folder: the checkpoint's.
        named: by its config.json: a folder relative to `folder`, a path, or a model of the Hugging Face hub.
        chosen: by the user, who overrides config.json: a path, or a model of the hub.

    Raises:
        CheckpointError: it is not found; the text says what to do.
    """
    name = chosen or named
    if not name:
        raise CheckpointError(f"{folder}/config.json names no vision_tower; name the CLIP folder with --vision-tower")
    beside = folder / name
    try:
        found = beside if not chosen and beside.is_dir() else find_folder(name, "CLIP", files=VISION_TOWER_FILES)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. --vision-tower (parameter vision_tower) names the CLIP folder") from error
    if not (found / "config.json").is_file():
        raise CheckpointError(f"{found} is not a CLIP folder: it has no config.json")
    return found


def read_vision_config(clip_folder: Path) -> CLIPVisionConfig:
    """CLIP's sizes, from its folder's config.json; a CheckpointError where it has none."""
    raw = read_json(clip_folder / "config.json")
    try:
        config = CLIPVisionConfig(**raw.get("vision_config", raw))
        if not 1 <= config.num_hidden_layers <= MAX_LAYERS:
            raise ValueError(f"num_hidden_layers is {config.num_hidden_layers}; 1 to {MAX_LAYERS} are expected")
        return config
    except Exception as error:  # whatever transformers and Python raise for a value of another type
        raise CheckpointError(f"{clip_folder}/config.json has a value that no CLIP has: {error}") from error


def vision_faults(width: int, layer: int, vision: CLIPVisionConfig, clip: ClipPreprocessing) -> list[str]:
    """What is wrong with a CLIP, one clause for each fault.

    Args:
        width: of its features, as config.json has it.
        layer: the one that is read, as in clip_states.
        vision: its sizes.
        clip: its preprocessing.
    """
    faults = []
    if vision.hidden_size != width:
        faults.append(
            f"CLIP in {clip.folder} is {vision.hidden_size} wide, but mm_hidden_size is {width} (is it the right CLIP?)"
        )
    if clip.size != (vision.image_size, vision.image_size):
        faults.append(
            f"CLIP in {clip.folder} takes images of {vision.image_size} pixels, but its"
            f" preprocessor_config.json makes them {clip.size}"
        )
    if not has_layer(vision, layer):
        faults.append(f"mm_vision_select_layer is {layer}, but CLIP has {vision.num_hidden_layers} layers")
    return faults


def has_layer(vision: CLIPVisionConfig, layer: int) -> bool:
    """Whether CLIP has a layer, numbered as in clip_states."""
    return -vision.num_hidden_layers - 1 <= layer <= vision.num_hidden_layers


def clip_states(tower: Any, pixels: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
    """What some of CLIP's layers put out; the layers after the last of them are not computed.

    Args:
        tower: transformers' CLIPVisionModel.
        pixels: (B, 3, h, w) from ClipPreprocessing, on the tower's device and in its data type.
        layers: 0: the embeddings, -1: the last layer.

    Returns:
        for each of `layers` (B, 1 + patches, width): the class token, and the patches.
    """
    count = len(tower.encoder.layers) + 1
    numbers = [layer % count for layer in layers]
    states = [tower.pre_layrnorm(tower.embeddings(pixels))]
    for layer in tower.encoder.layers[: max(numbers)]:
        states.append(layer(states[-1], None))
    return [states[number] for number in numbers]
