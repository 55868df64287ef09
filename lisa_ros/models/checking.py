# SPDX-License-Identifier: Apache-2.0
"""Whether a checkpoint folder would load, before its weights are read or even downloaded: what `lisa check` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lisa_ros.models.loading import model_of

_SHOWN = 20
"""Names of a list that are told."""


def check_checkpoint(folder: Path, vision_tower: str | None = None, report: Callable[[str], None] = print) -> bool:
    """Compares what a folder says of itself; no tensor is read.

    A SegLLM folder needs to have no more than its index (model.safetensors.index.json or pytorch_model.bin.index.json):
    names are compared then, and shapes as well once config.json and the weights are there.

    Args:
        folder: the checkpoint's.
        vision_tower: the CLIP folder, where config.json's is not the one.
        report: receives lines for people.

    Returns:
        whether it would load, as far as that can be told.

    Raises:
        ValueError: the folder cannot be judged, or its parts do not fit together; the text says what is wrong.
    """
    from lisa_ros.models.segllm.dry_run import is_segllm, names_in

    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    names = names_in(folder)
    if model_of(folder) != "segllm" and not (names and is_segllm(names)):
        return _check_lisa(folder, vision_tower, report)
    if names is not None and not _check_names(folder, names, report):
        return False
    if not (folder / "config.json").is_file() or not _has_weights(folder):
        report("only names were compared: without config.json and the weights beside the index, shapes are not known")
        return True
    _check_segllm(folder, vision_tower, report)
    return True


def _check_names(folder: Path, names: list[str], report: Callable[[str], None]) -> bool:
    from lisa_ros.models.segllm.dry_run import dry_run

    count, stored = _said_of_llama(folder)
    verdict = dry_run(names, count, stored)
    layers = ", ".join(f"{part} {count}" for part, count in verdict.layers.items())
    report(
        f"SegLLM, {len(names)} tensors: {verdict.loaded} loaded, {verdict.skipped} skipped on purpose; layers: {layers}"
    )
    for title, listed in (("missing", verdict.missing), ("not known, left out", verdict.left_over)):
        if listed:
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            report(f"{len(listed)} {title}: {', '.join(listed[:_SHOWN])}{more}")
    # Layers that are missing at the end of a part, as a whole, leave no trace among names.
    unsure = "each part" if count is None else "each part but LLaMA"
    report(
        f"all names that are needed are there, if {unsure} has as many layers as its names tell"
        if verdict.would_load
        else "it would not load"
    )
    return verdict.would_load


def _said_of_llama(folder: Path) -> tuple[int | None, str]:
    """(how many layers it has, its quantization in the files), as far as there is a config.json that says so."""
    from lisa_ros.models.common.configuration import converted_quantization, read_json

    if not (folder / "config.json").is_file():
        return None, "none"
    raw = read_json(folder / "config.json")
    count = raw.get("num_hidden_layers")
    return count if isinstance(count, int) and count > 0 else None, converted_quantization(raw, folder) or "none"


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in (".safetensors", ".bin") for file in folder.iterdir())


def _check_segllm(folder: Path, vision_tower: str | None, report: Callable[[str], None]) -> None:
    from lisa_ros.models.common.preprocessing import ClipPreprocessing
    from lisa_ros.models.common.vision_tower import find_vision_tower
    from lisa_ros.models.segllm.checkpoint import plan_network
    from lisa_ros.models.segllm.configuration import read_configuration
    from lisa_ros.models.segllm.tokenizer import SegllmTokenizer

    config = read_configuration(folder)
    SegllmTokenizer(folder / "tokenizer.model", config.added_tokens)
    clip = ClipPreprocessing(find_vision_tower(folder, config.vision_tower, vision_tower))
    plan_network(folder, config, clip)
    report(f"{folder}: names and shapes fit; it would load")


def _check_lisa(folder: Path, vision_tower: str | None, report: Callable[[str], None]) -> bool:
    from lisa_ros.models.common.preprocessing import ClipPreprocessing
    from lisa_ros.models.common.vision_tower import find_vision_tower
    from lisa_ros.models.lisa.checkpoint import load_tokenizer, plan_network
    from lisa_ros.models.lisa.configuration import read_configuration

    if (model := model_of(folder)) != "lisa":
        raise ValueError(f"{folder} holds {model}; lisa check knows LISA's folders and SegLLM's")
    config = read_configuration(folder)
    load_tokenizer(folder, config)
    plan_network(folder, config, ClipPreprocessing(find_vision_tower(folder, config.vision_tower, vision_tower)))
    report(f"{folder}: LISA, names and shapes fit; it would load")
    return True
