# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of a folder, in safetensors or pickles, without running code from them."""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.layout import Shape

ALIGNMENT = 64
"""bytes. Some libraries sum in another order, with another last bit, where a tensor is aligned differently."""

MAPPED_BYTES = 500_000_000
"""After so many bytes a file is mapped anew: until then, pages that were read count as memory of the process, and a
shard of 10 GB would fill a small machine."""


@dataclass(frozen=True)
class Layout:
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: Shape

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Layout:
        """A tensor's."""
        return cls(tensor.dtype, tuple(tensor.shape))


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
        return {key: layout.shape for key, layout in self.layouts().items()}

    def layouts(self) -> dict[str, Layout]:
        """Key -> type and shape of every tensor, in the order of `tensors`; the tensors' bytes are not read.

        Raises:
            CheckpointError: a tensor is in two files, so that nobody knows which one is meant.
        """
        found: dict[str, Layout] = {}
        repeated: list[str] = []
        for file in self.files:
            layouts = {key: Layout.of(tensor) for key, tensor in _opened(file)}
            repeated += found.keys() & layouts.keys()
            found |= layouts
        if repeated:
            raise CheckpointError(
                f"{self.folder} has tensors in more than one of its files: {', '.join(sorted(repeated))}"
            )
        return found

    def read_ahead(self) -> None:
        """Lets the system read the files ahead; a mapped file's pages are read one by one otherwise."""
        for file in self.files:
            with file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every key with its tensor on the CPU, as stored; one shard is open at a time.

        Where the file can be mapped, a tensor is a view of it, and its bytes are read when they are used.
        """
        for file in self.files:
            yield from _in_portions(file)


def _in_portions(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """A file's tensors; the file is opened again after every MAPPED_BYTES of them."""
    done, portion, complete = 0, MAPPED_BYTES if _can_be_mapped(file) else math.inf, False
    while not complete:
        complete, mapped = True, 0
        for key, tensor in islice(_opened(file), done, None):
            if mapped > portion:
                complete = False
                break
            done, mapped = done + 1, mapped + tensor.nbytes
            yield key, tensor


def _opened(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if file.suffix != ".safetensors":
        yield from _read_pickle(file).items()
        return
    with open_safetensors(file) as tensors:
        for key in tensors.keys():  # noqa: SIM118 (not a mapping)
            yield key, _get(tensors, key, file)


def _can_be_mapped(file: Path) -> bool:
    """Whether a file can be mapped. Of torch's formats only the zip format of torch 1.6 and later can."""
    return file.suffix == ".safetensors" or zipfile.is_zipfile(file)


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


def open_safetensors(file: Path) -> Any:
    """A safetensors file, mapped.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return safe_open(file, framework="pt", device="cpu")
    except SafetensorError as error:
        raise CheckpointError(f"{file} is a damaged or incomplete safetensors file: {error}") from error


def _get(tensors: Any, key: str, file: Path) -> torch.Tensor:
    try:
        tensor: torch.Tensor = tensors.get_tensor(key)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: {key} cannot be read: {error}") from error
    return tensor


def load_pickle(file: Path) -> Any:
    """The objects that torch saved in a file, tensors mapped where possible; no code in it is run.

    Raises:
        CheckpointError: it is damaged, or holds more than plain data.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=_can_be_mapped(file))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is refused: it holds more than tensors, and reading it would run code from it "
            f"({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:  # damaged bytes can raise anything
        raise CheckpointError(f"{file} is damaged or not a PyTorch file: {type(error).__name__}: {error}") from error


def _read_pickle(file: Path) -> dict[str, torch.Tensor]:
    tensors = load_pickle(file)
    if not isinstance(tensors, dict) or not all(isinstance(key, str) and _is_plain(t) for key, t in tensors.items()):
        raise CheckpointError(f"{file} does not hold dense tensors by name, as a checkpoint's shard does")
    return tensors


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
