# SPDX-License-Identifier: Apache-2.0
"""The CLIP folder that a checkpoint names."""

from __future__ import annotations

from pathlib import Path

from transformers import CLIPVisionConfig

from lisa_ros.models.common.configuration import read_json
from lisa_ros.models.common.errors import CheckpointError
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
    candidates = [Path(name).expanduser()] if chosen else [folder / name, Path(name).expanduser()]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
        if candidate.is_dir():
            raise CheckpointError(f"{candidate} is no CLIP folder: config.json is missing in it")
    return _download_vision_tower(folder, name)


def _download_vision_tower(folder: Path, name: str) -> Path:
    """From the Hugging Face cache, or the hub."""
    try:
        from huggingface_hub import snapshot_download

        files = ["config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin"]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no network, no such model, a name the hub refuses
        raise CheckpointError(
            f"CLIP {name!r} is neither a folder in {folder}, nor a path, nor in the Hugging Face cache or hub "
            f"({type(error).__name__}). Download it once and point --vision-tower at its folder"
        ) from error


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
