# SPDX-License-Identifier: Apache-2.0
"""The CLIP folder that a checkpoint names."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPVisionConfig

from lisa_ros.models.common.configuration import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.hub import VISION_TOWER_FILES, find_folder
from lisa_ros.models.common.preprocessing import ClipPreprocessing


def find_vision_tower(folder: Path, named: str, chosen: str | None = None) -> Path:
    """The CLIP folder that is meant.

    Args:
        folder: the checkpoint's.
        named: what its config.json names: a folder relative to `folder`, a path, or a model of the Hugging Face hub.
        chosen: said outright instead: a path, or a model of the hub.

    Raises:
        CheckpointError: it is not to be found; the text says what to do.
    """
    name = chosen or named
    if not name:
        raise CheckpointError(f"{folder}/config.json names no vision_tower; say which CLIP folder with --vision-tower")
    beside = folder / name
    try:
        found = beside if not chosen and beside.is_dir() else find_folder(name, "CLIP", files=VISION_TOWER_FILES)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. --vision-tower (parameter vision_tower) names the CLIP folder") from error
    if not (found / "config.json").is_file():
        raise CheckpointError(f"{found} is no CLIP folder: config.json is missing in it")
    return found


def read_vision_config(clip_folder: Path) -> CLIPVisionConfig:
    """CLIP's sizes, from its folder's config.json; a CheckpointError where it has none."""
    raw = read_json(clip_folder / "config.json")
    try:
        return CLIPVisionConfig(**raw.get("vision_config", raw))
    except Exception as error:  # whatever transformers and Python raise for a value of another kind
        raise CheckpointError(f"{clip_folder}/config.json has a value that no CLIP has: {error}") from error


def vision_faults(width: int, vision: CLIPVisionConfig, clip: ClipPreprocessing) -> list[str]:
    """What is wrong with a CLIP whose features should be `width` wide, a clause each."""
    faults = []
    if vision.hidden_size != width:
        faults.append(
            f"CLIP in {clip.folder} is {vision.hidden_size} wide, but mm_hidden_size is {width} (is it the right CLIP?)"
        )
    if clip.size != (vision.image_size, vision.image_size):
        faults.append(
            f"CLIP in {clip.folder} takes pictures of {vision.image_size} pixels, but its"
            f" preprocessor_config.json makes them {clip.size}"
        )
    return faults
