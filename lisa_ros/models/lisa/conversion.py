# SPDX-License-Identifier: Apache-2.0
"""`lisa convert` for LISA."""

from __future__ import annotations

import shutil
from pathlib import Path

from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.conversion.descriptions import description_files
from lisa_ros.models.common.conversion.plan import CLIP, Stream, plan_file, plan_stream
from lisa_ros.models.common.conversion.work import CLIP_DESCRIPTIONS, Conversion, Work, stamp
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.weights.filling import quantized_layers
from lisa_ros.models.lisa.checkpoint import Plan, load_tokenizer, plan_network
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.models.lisa.keys import clip_key, lisa_key


def is_source(source: Path) -> bool:
    """True for any folder: for a folder that is no checkpoint at all, LISA's errors are the clearest."""
    return True


def plan(conversion: Conversion) -> Work:
    """The plan for a LISA folder.

    Raises:
        CheckpointError: the source cannot be converted, or the result could not be loaded.
    """
    clip = _clip_folder(conversion)
    network_plan = plan_network(conversion.source, read_configuration(conversion.source), ClipPreprocessing(clip))

    def describe(folder: Path) -> None:
        for file in description_files(conversion.source):
            if file.name != "config.json":
                shutil.copyfile(file, folder / file.name)
        for name in CLIP_DESCRIPTIONS:
            shutil.copyfile(clip / name, folder / CLIP / name)

    return Work(
        streams=plan_files(network_plan, conversion.quantization, conversion.shard_bytes),
        stamps=_stamps(conversion.source, clip, network_plan),
        describe=describe,
        config=read_json(conversion.source / "config.json") | {"vision_tower": CLIP, "mm_vision_tower": CLIP},
    )


def _clip_folder(conversion: Conversion) -> Path:
    """The source's CLIP; raises a CheckpointError for a source that cannot be converted."""
    config = read_configuration(conversion.source)
    if config.stored != "none":
        raise CheckpointError(
            f"{conversion.source} is converted to {config.stored} already; convert the original checkpoint"
        )
    load_tokenizer(conversion.source, config)
    return find_vision_tower(conversion.source, config.vision_tower, conversion.vision_tower)


def _stamps(source: Path, clip: Path, plan: Plan) -> dict[str, dict[str, list[int]]]:
    """Sizes and times of the files, to recognize the source; hashing LISA-7B would take longer than starting again."""
    files = [*plan.weights.files, *description_files(source)]
    clip_files = [*plan.clip_weights.files, *(clip / name for name in CLIP_DESCRIPTIONS)]
    return {
        "source": {str(file.relative_to(source)): stamp(file) for file in files},
        "clip": {str(file.relative_to(clip)): stamp(file) for file in clip_files},
    }


def plan_files(plan: Plan, quantization: str, shard_bytes: int) -> tuple[Stream, Stream]:
    """Plans the files of a checkpoint, and the one of CLIP.

    Args:
        plan: the checkpoint, not quantized.
        quantization: of LLaMA's linear layers; "none" writes everything unchanged.
        shard_bytes: size after which a new file begins.

    Raises:
        CheckpointError: a tensor is in two files, or is not of a floating-point type.
    """
    layers = quantized_layers(plan.network, quantization)
    clip = plan_file(plan.clip_weights, clip_key, f"{CLIP}/model.safetensors")
    return plan_stream(plan.weights, lisa_key, layers, shard_bytes), clip
