# SPDX-License-Identifier: Apache-2.0
"""The tensors of a folder, in safetensors or pickles, read without running anything in them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from lisa_ros.models.lisa.configuration import read_json
from lisa_ros.models.lisa.errors import CheckpointError
from lisa_ros.models.lisa.sam import Shape


class WeightFiles:
    """The tensors of a folder: model.safetensors or pytorch_model.bin, whole or in shards with an index."""

    def __init__(self, folder: Path) -> None:
        """Finds the files.

        Raises:
            CheckpointError: there are none, or a shard that the index names is missing.
        """
        self.folder = folder
        self.files = _find_files(folder)
        absent = [str(file.relative_to(folder)) for file in self.files if not file.is_file()]
        if absent:
            raise CheckpointError(f"{folder} lacks weight files that its index names: {', '.join(absent)}")

    def shapes(self) -> dict[str, Shape]:
        """Key -> shape of every tensor; the tensors' bytes are not read."""
        found: dict[str, Shape] = {}
        for file in self.files:
            if file.suffix == ".safetensors":
                with _open_safetensors(file) as tensors:
                    found |= {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
            else:
                found |= {key: tuple(tensor.shape) for key, tensor in _read_pickle(file).items()}
        return found

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every key with its tensor on the CPU, as stored; one shard is open at a time."""
        for file in self.files:
            if file.suffix == ".safetensors":
                with _open_safetensors(file) as tensors:
                    for key in tensors.keys():  # noqa: SIM118 (not a mapping)
                        yield key, tensors.get_tensor(key)
            else:
                yield from _read_pickle(file).items()


def _find_files(folder: Path) -> list[Path]:
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / f"{stem}.index.json").is_file():
            return _indexed_files(folder, folder / f"{stem}.index.json")
        if (folder / stem).is_file():
            return [folder / stem]
    raise CheckpointError(
        f"{folder} has no weights: model.safetensors or pytorch_model.bin, whole or with an index, is expected"
    )


def _indexed_files(folder: Path, index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{index} has no weight_map of tensors to file names")
    outside = [name for name in names.values() if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise CheckpointError(f"{index} names files outside its folder: {', '.join(sorted(set(outside)))}")
    return sorted({folder / name for name in names.values()})


def _open_safetensors(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt", device="cpu")
    except SafetensorError as error:
        raise CheckpointError(f"{file} is no whole safetensors file: {error}") from error


def _read_pickle(file: Path) -> dict[str, torch.Tensor]:
    try:
        # Only torch's zip format can be mapped; the one from before torch 1.6 is read whole.
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is refused: it is no plain file of tensors, reading it would run code from it "
            f"({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:  # damaged bytes can raise anything
        raise CheckpointError(f"{file} is damaged or no PyTorch file: {type(error).__name__}: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(key, str) and _is_plain(t) for key, t in tensors.items()):
        raise CheckpointError(f"{file} does not hold dense tensors by name, as a checkpoint's shard does")
    return tensors


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
