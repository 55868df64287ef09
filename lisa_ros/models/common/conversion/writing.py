# SPDX-License-Identifier: Apache-2.0
"""Writes the files of a converted checkpoint; an interrupted run resumes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from lisa_ros.models.common.checkpoints.configuration import CONVERSION, CONVERSION_FORMAT
from lisa_ros.models.common.conversion.plan import Entry, Output, Stream
from lisa_ros.models.common.conversion.work import Work
from lisa_ros.models.common.weights.aligned_files import PlannedFile
from lisa_ros.models.common.weights.filling import check_finite
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_json

_SMALL_FILES = 10_000_000
"""bytes: more than all files except weights take."""

Step = Callable[[int], object]


def check_space(folder: Path, streams: Iterable[Stream]) -> None:
    """Raises a LisaError where the disk is too full for what is not finished."""
    needed = _SMALL_FILES
    for output in (output for stream in streams for output in stream.outputs):
        if not output.is_finished(folder):
            part = PlannedFile.part_of(folder / output.name)
            needed += output.plan.size - (part.stat().st_size if part.is_file() else 0)
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise LisaError(f"{folder} needs {needed / 1e9:.2f} GB, but its disk has {free / 1e9:.2f} GB free")


def write_streams(streams: Sequence[Stream], folder: Path, quantization: str, device: torch.device) -> None:
    """Writes every file of weights that is not finished yet, with a progress bar."""
    outputs = [output for stream in streams for output in stream.outputs]
    finished = {output.name for output in outputs if output.is_finished(folder)}
    total = sum(output.source_bytes for output in outputs)
    done = sum(output.source_bytes for output in outputs if output.name in finished)
    # Few lines in a log file, but often enough to see progress.
    interval = 0.5 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, initial=done, desc="converting", unit="B", unit_scale=True, mininterval=interval) as bar:
        for stream in streams:
            tensors = stream.tensors()
            for output in stream.outputs:
                pairs = zip(output.entries, islice(tensors, len(output.entries)), strict=True)
                if output.name in finished:
                    for _ in pairs:  # skips them; their bytes are not read
                        pass
                else:
                    _write_file(folder / output.name, output, pairs, quantization, device, bar.update)


def _write_file(
    file: Path,
    output: Output,
    pairs: Iterable[tuple[Entry, tuple[str, torch.Tensor]]],
    quantization: str,
    device: torch.device,
    step: Step,
) -> None:
    """Writes a file tensor by tensor; an unfinished file is deleted."""
    file.parent.mkdir(exist_ok=True)
    writing = PlannedFile(file, output.plan)
    try:
        for entry, (key, tensor) in pairs:
            if key != entry.key:
                raise RuntimeError(f"{key} was read where {entry.key} was planned: the source has changed meanwhile")
            check_finite(tensor, f"the source's {key}")
            for name, one in entry.tensors(tensor, quantization, device).items():
                writing.put(name, one)
            step(tensor.nbytes)
        writing.finish()
    except OSError as error:  # Python's message does not name the file
        writing.abandon()
        raise OSError(
            error.errno, f"{error.strerror}; correct this and repeat the command, it resumes", str(file)
        ) from error
    except BaseException:
        writing.abandon()
        raise


def write_descriptions(work: Work, folder: Path, quantization: str, identity: str) -> None:
    """Writes everything but weights. config.json makes the folder a checkpoint, so it is written last.

    Args:
        work: the plan.
        folder: the output.
        quantization: of LLaMA's linear layers.
        identity: of source and options, see unfinished.digest.
    """
    work.describe(folder)
    outputs = work.streams[0].outputs
    index = {
        "metadata": {"total_size": sum(layout.nbytes for one in outputs for layout in one.plan.layouts.values())},
        "weight_map": {key: one.name for one in outputs for key in one.plan.layouts},
    }
    write_json(folder / "model.safetensors.index.json", index)
    note = {CONVERSION: {"format": CONVERSION_FORMAT, "quantization": quantization, "identity": identity}}
    write_json(folder / "config.json", work.config | note)
