# SPDX-License-Identifier: Apache-2.0
"""`lisa convert` for SegLLM. CLIP's weights are in the checkpoint; only its configuration files are added."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower
from lisa_ros.models.common.config_file import config_of, read_json
from lisa_ros.models.common.conversion.descriptions import description_files
from lisa_ros.models.common.conversion.plan import CLIP, plan_stream
from lisa_ros.models.common.conversion.work import CLIP_DESCRIPTIONS, Conversion, Work, stamp
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.weights.filling import quantized_layers
from lisa_ros.models.segllm.checkpoint import Plan, plan_network
from lisa_ros.models.segllm.configuration import read_configuration
from lisa_ros.models.segllm.tokenizer import SegllmTokenizer

LICENCES_FILE = "LICENCES.md"
LICENCES = (
    "SegLLM's repository states no licence for its weights; LLaMA's licence and CLIP's hold for what is in them. "
    "Ask its authors before you pass the folder on"
)


def is_source(source: Path) -> bool:
    """Whether a folder's config.json is SegLLM's."""
    return "segmentator" in config_of(source)


def plan(conversion: Conversion) -> Work:
    """The plan for a SegLLM folder.

    Raises:
        CheckpointError: the source cannot be converted, or the result could not be loaded.
    """
    config = read_configuration(conversion.source)
    if config.stored != "none":
        raise CheckpointError(
            f"{conversion.source} is converted to {config.stored} already; convert the original checkpoint"
        )
    SegllmTokenizer(conversion.source / "tokenizer.model", config.added_tokens)
    clip = find_vision_tower(conversion.source, config.vision_tower, conversion.vision_tower)
    network_plan = plan_network(conversion.source, config, ClipPreprocessing(clip))
    layers = quantized_layers(network_plan.network, conversion.quantization)
    left = (
        f"left out, since no answer depends on them: {', '.join(network_plan.left_over)}"
        if network_plan.left_over
        else ""
    )
    return Work(
        streams=(plan_stream(network_plan.weights, network_plan.rename.get, layers, conversion.shard_bytes),),
        stamps=_stamps(conversion.source, clip, network_plan),
        describe=partial(_describe, conversion.source, clip),
        config=read_json(conversion.source / "config.json") | {"mm_vision_tower": CLIP},
        notes=tuple(note for note in (left, LICENCES) if note),
    )


def _stamps(source: Path, clip: Path, plan: Plan) -> dict[str, dict[str, list[int]]]:
    """See Work.stamps."""
    files = [*plan.weights.files, *description_files(source)]
    return {
        "source": {file.name: stamp(file) for file in files},
        "clip": {name: stamp(clip / name) for name in CLIP_DESCRIPTIONS},
    }


def _describe(source: Path, clip: Path, folder: Path) -> None:
    """Copies all files except weights and config.json, and writes down the licences."""
    (folder / LICENCES_FILE).write_text(f"Licences: {LICENCES}.\n", encoding="utf-8")
    for file in description_files(source):
        if file.name != "config.json":
            shutil.copyfile(file, folder / file.name)
    (folder / CLIP).mkdir(exist_ok=True)
    for name in CLIP_DESCRIPTIONS:
        shutil.copyfile(clip / name, folder / CLIP / name)
