# SPDX-License-Identifier: Apache-2.0
"""Writes a fine-tuned checkpoint in the released layout: the source's own tensors with the learned changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.conversion.descriptions import description_files
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.lisa.keys import lisa_key
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.scoring import FILE as SCORE_FILE
from lisa_ros.training.finetune.lora import Learned

SHARD_BYTES = 5_000_000_000


def write_merged(source: Path, clip: Path, learned: Learned, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes a checkpoint folder that `load_lisa` loads as it loaded the source.

    Every tensor keeps its name, type and, unless it was trained, its bytes; adapters are added to the tensors as
    stored, whatever the base was quantized to. Weights become safetensors, whatever they were.

    Args:
        source: the checkpoint that was fine-tuned.
        clip: its CLIP folder, copied along where it lies in `source`.
        learned: what the training changed.
        folder: empty, or new.
        shard_bytes: size from which a new file is begun.

    Raises:
        OSError: it cannot be written.
        ValueError: a trained number exceeds the source's number format.
        RuntimeError: the source lacks a trained tensor, which `load_lisa` would have refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(source, learned, folder, shard_bytes)
    for file in description_files(source):
        if file.name != SCORE_FILE:  # it was fitted to masks of other weights
            shutil.copyfile(file, folder / file.name)
    _bring_clip(source, clip, folder)


def _write_weights(source: Path, learned: Learned, folder: Path, shard_bytes: int) -> None:
    missing = set(learned.keys())
    parts: list[dict[str, int]] = []
    for shard in _shards(source, learned, missing, shard_bytes):
        _save_shard(shard, folder / f"part-{len(parts)}")
        parts.append({key: tensor.nbytes for key, tensor in shard.items()})
    if missing:
        raise RuntimeError(f"{source} has no tensors for what was trained: {', '.join(sorted(missing))}")
    if len(parts) == 1:
        (folder / "part-0").rename(folder / "model.safetensors")
        return
    names = [f"model-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    for i, name in enumerate(names):
        (folder / f"part-{i}").rename(folder / name)
    index = {
        "metadata": {"total_size": sum(sum(part.values()) for part in parts)},
        "weight_map": {key: name for name, part in zip(names, parts, strict=True) for key in part},
    }
    _write_json(folder / "model.safetensors.index.json", index)


def _shards(source: Path, learned: Learned, missing: set[str], shard_bytes: int) -> Iterator[dict[str, torch.Tensor]]:
    """The source's tensors with the learned changes, one file after the other; removes from `missing` what it meets."""
    shard: dict[str, torch.Tensor] = {}
    for released, tensor in WeightFiles(source).tensors():
        key = lisa_key(released)
        if key is not None:
            tensor = learned.applied(key, tensor)
            if key in missing and not torch.isfinite(tensor).all():
                raise LisaError(f"the trained {released} is not finite in {tensor.dtype}")
            missing.discard(key)
        if shard and sum(one.nbytes for one in shard.values()) + tensor.nbytes > shard_bytes:
            yield shard
            shard = {}
        # A pickle may hold views of one storage, which safetensors refuses.
        shard[released] = tensor.detach().clone(memory_format=torch.contiguous_format)
    yield shard


def _save_shard(shard: dict[str, torch.Tensor], file: Path) -> None:
    file.touch()
    mode = file.stat().st_mode  # of the user's umask; safetensors writes for the owner alone
    try:
        save_file(shard, file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{file} cannot be written: {error}") from error
    file.chmod(mode)


def _bring_clip(source: Path, clip: Path, folder: Path) -> None:
    """Copies a CLIP that lies inside the source; one beside it is named by its absolute path."""
    raw = read_json(source / "config.json")
    name = str(raw.get("vision_tower") or raw.get("mm_vision_tower") or "")
    if not name or (source / name).resolve() != clip.resolve():
        return  # a model of the hub, an absolute path, or one that an option named: as with the source
    if clip.resolve().is_relative_to(source.resolve()):
        _copy_files(clip, folder / name)
    else:
        _write_json(folder / "config.json", {**raw, "vision_tower": str(clip.resolve())})


def _copy_files(source: Path, target: Path) -> None:
    """As shutil.copytree, but a read-only source does not make a target that cannot be deleted."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_dir():
            _copy_files(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
