# SPDX-License-Identifier: Apache-2.0
"""`lisa check`: whether a checkpoint folder would load, before its weights are read or even downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.loading import model_of

_SHOWN = 20
"""Names of a list that are printed."""


def check_checkpoint(folder: Path, vision_tower: str | None = None, report: Callable[[str], None] = print) -> bool:
    """Compares the names and shapes in a folder with those that its model needs; no tensor is read.

    For SegLLM the index (model.safetensors.index.json or pytorch_model.bin.index.json) is enough: names are compared
    then, and shapes as well once config.json and the weights are there.

    Args:
        folder: the checkpoint's.
        vision_tower: the CLIP folder, where it is not the one in config.json.
        report: receives lines for people.

    Returns:
        whether it would load, as far as the files show.

    Raises:
        LisaError: the folder cannot be checked, or its parts do not fit together; the text says what is wrong.
    """
    from lisa_ros.models.segllm.dry_run import is_segllm, names_in

    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}")
    names = names_in(folder)
    if model_of(folder) != "segllm" and not (names and is_segllm(names)):
        return _check_lisa(folder, vision_tower, report)
    if names is not None and not _check_names(folder, names, report):
        return False
    if not (folder / "config.json").is_file() or not _has_weights(folder):
        report("only names were compared: shapes need config.json and the weights beside the index")
        return True
    _check_segllm(folder, vision_tower, report)
    return True


def _check_names(folder: Path, names: list[str], report: Callable[[str], None]) -> bool:
    from lisa_ros.models.segllm.dry_run import dry_run

    count, stored = _described_llama(folder)
    verdict = dry_run(names, count, stored)
    layers = ", ".join(f"{part} {count}" for part, count in verdict.layers.items())
    report(
        f"SegLLM, {len(names)} tensors: {verdict.loaded} loaded, {verdict.skipped} skipped on purpose; layers: {layers}"
    )
    for title, listed in (("missing", verdict.missing), ("unknown, left out", verdict.left_over)):
        if listed:
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            report(f"{len(listed)} {title}: {', '.join(listed[:_SHOWN])}{more}")
    # Whole layers that are missing at the end of a part cannot be seen from the names.
    unsure = "each part" if count is None else "each part but LLaMA"
    report(
        f"all needed names are there, if {unsure} has as many layers as its names show"
        if verdict.would_load
        else "it would not load"
    )
    return verdict.would_load


def _described_llama(folder: Path) -> tuple[int | None, str]:
    """(number of LLaMA's layers, its quantization in the files), as far as config.json has them."""
    from lisa_ros.models.common.checkpoints.configuration import converted_quantization
    from lisa_ros.models.common.config_file import read_json

    if not (folder / "config.json").is_file():
        return None, "none"
    raw = read_json(folder / "config.json")
    count = raw.get("num_hidden_layers")
    return count if isinstance(count, int) and count > 0 else None, converted_quantization(raw, folder) or "none"


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in (".safetensors", ".bin") for file in folder.iterdir())


def _check_segllm(folder: Path, vision_tower: str | None, report: Callable[[str], None]) -> None:
    from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower
    from lisa_ros.models.common.preprocessing import ClipPreprocessing
    from lisa_ros.models.segllm.checkpoint import plan_network
    from lisa_ros.models.segllm.configuration import read_configuration
    from lisa_ros.models.segllm.tokenizer import SegllmTokenizer

    config = read_configuration(folder)
    SegllmTokenizer(folder / "tokenizer.model", config.added_tokens)
    clip = ClipPreprocessing(find_vision_tower(folder, config.vision_tower, vision_tower))
    plan_network(folder, config, clip)
    report(f"{folder}: names and shapes fit; it would load")


def _check_lisa(folder: Path, vision_tower: str | None, report: Callable[[str], None]) -> bool:
    from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower
    from lisa_ros.models.common.preprocessing import ClipPreprocessing
    from lisa_ros.models.lisa.checkpoint import load_tokenizer, plan_network
    from lisa_ros.models.lisa.configuration import read_configuration

    if (model := model_of(folder)) != "lisa":
        raise CheckpointError(f"{folder} holds {model}; lisa check supports LISA's folders and SegLLM's")
    config = read_configuration(folder)
    load_tokenizer(folder, config)
    plan_network(folder, config, ClipPreprocessing(find_vision_tower(folder, config.vision_tower, vision_tower)))
    report(f"{folder}: LISA, names and shapes fit; it would load")
    return True
