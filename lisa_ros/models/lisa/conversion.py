# SPDX-License-Identifier: Apache-2.0
"""What `lisa convert` makes of a LISA folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from lisa_ros.models.common.configuration import read_json
from lisa_ros.models.common.conversion.descriptions import description_files
from lisa_ros.models.common.conversion.plan import CLIP, Stream, plan_file, plan_stream
from lisa_ros.models.common.conversion.work import CLIP_DESCRIPTIONS, Conversion, Work, stamp
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.vision_tower import find_vision_tower
from lisa_ros.models.common.weights.filling import quantized_layers
from lisa_ros.models.lisa.checkpoint import Plan, load_tokenizer, plan_network
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.models.lisa.keys import clip_key, lisa_key


def is_source(source: Path) -> bool:
    """Any folder: LISA's errors are the clearest where a folder is no checkpoint at all."""
    return True


def work(wanted: Conversion) -> Work:
    """The work that the conversion of a LISA folder comes to.

    Raises:
        CheckpointError: the source cannot be converted or, later, not be loaded.
    """
    clip = _clip_folder(wanted)
    plan = plan_network(wanted.source, read_configuration(wanted.source), ClipPreprocessing(clip))

    def describe(folder: Path) -> None:
        for file in description_files(wanted.source):
            if file.name != "config.json":
                shutil.copyfile(file, folder / file.name)
        for name in CLIP_DESCRIPTIONS:
            shutil.copyfile(clip / name, folder / CLIP / name)

    return Work(
        streams=plan_files(plan, wanted.quantization, wanted.shard_bytes),
        stamps=_stamps(wanted.source, clip, plan),
        describe=describe,
        config=read_json(wanted.source / "config.json") | {"vision_tower": CLIP, "mm_vision_tower": CLIP},
    )


def _clip_folder(wanted: Conversion) -> Path:
    """The source's CLIP; raises for a source that cannot be converted or, later, not be loaded."""
    config = read_configuration(wanted.source)
    if config.stored != "none":
        raise CheckpointError(
            f"{wanted.source} is converted to {config.stored} already; convert the checkpoint that it was made from"
        )
    load_tokenizer(wanted.source, config)
    return find_vision_tower(wanted.source, config.vision_tower, wanted.vision_tower)


def _stamps(source: Path, clip: Path, plan: Plan) -> dict[str, dict[str, list[int]]]:
    """What tells the files of two sources apart; to read all of LISA-7B would cost more than an interruption does."""
    files = [*plan.weights.files, *description_files(source)]
    seen = [*plan.clip_weights.files, *(clip / name for name in CLIP_DESCRIPTIONS)]
    return {
        "source": {str(file.relative_to(source)): stamp(file) for file in files},
        "clip": {str(file.relative_to(clip)): stamp(file) for file in seen},
    }


def plan_files(plan: Plan, quantization: str, shard_bytes: int) -> tuple[Stream, Stream]:
    """Plans the files of a checkpoint, and the one of CLIP.

    Args:
        plan: the checkpoint, not quantized.
        quantization: of LLaMA's linear layers; "none" writes everything as it is stored.
        shard_bytes: size from which another file is begun.

    Raises:
        CheckpointError: a tensor stands in two files, or holds no floating-point numbers.
    """
    layers = quantized_layers(plan.network, quantization)
    clip = plan_file(plan.clip_weights, clip_key, f"{CLIP}/model.safetensors")
    return plan_stream(plan.weights, lisa_key, layers, shard_bytes), clip
