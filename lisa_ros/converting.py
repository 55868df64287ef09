# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as one folder that loads fast, quantized once: what `lisa convert` does."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lisa_ros.models.families import SEGLLM, family_of
from lisa_ros.models.lisa.aligned_files import PlannedFile
from lisa_ros.models.lisa.checkpoint import (
    Plan,
    choose_device,
    find_vision_tower,
    load_tokenizer,
    plan_network,
)
from lisa_ros.models.lisa.configuration import CONVERSION, CONVERSION_FORMAT, read_configuration, read_json
from lisa_ros.models.lisa.converted_files import CLIP, Entry, Output, Stream, plan_files
from lisa_ros.models.lisa.descriptions import description_files
from lisa_ros.models.lisa.errors import CheckpointError
from lisa_ros.models.lisa.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.quantization import need_bitsandbytes
from lisa_ros.models.lisa.unfinished import check_output, claimed
from lisa_ros.models.options import CONVERTED_TO, DEVICES

SHARD_BYTES = 500_000_000
"""Size from which another file is begun. What an interruption costs is at most the work on one file."""

CLIP_DESCRIPTIONS = ("config.json", "preprocessor_config.json")
_SMALL_FILES = 10_000_000
"""bytes: more than all that is written beside weights."""

Tell = Callable[[str], None]
Step = Callable[[int], object]


@dataclass(frozen=True)
class Conversion:
    """What `lisa convert` is told.

    Attributes:
        source: as released: LISA's or SegLLM's folder, or LIRA's pieces, see models.lira.pieces.find_pieces.
        output: the folder to write; not there yet, or empty, or what an interrupted conversion of the same left.
        quantization: of LLaMA's linear layers, one of CONVERTED_TO.
        vision_tower: the CLIP folder; None: the one that the source's config.json names.
        device: where it is quantized. "auto" is the GPU where there is one.
        shard_bytes: size from which another file is begun.
    """

    source: Path
    output: Path
    quantization: str = "4bit"
    vision_tower: str | None = None
    device: str = "auto"
    shard_bytes: int = field(default_factory=lambda: SHARD_BYTES)

    def check(self) -> None:
        """Raises a ValueError that names a choice which is none, and what it can be."""
        for name, choices in (("quantization", CONVERTED_TO), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it can be {', '.join(choices)}")


@dataclass(frozen=True)
class Work:
    """What a conversion comes to.

    Attributes:
        streams: what is read, and the files that are written; config.json and the index speak of the first one's.
        stamps: what must be the same for an interrupted conversion to go on, plain values by name.
        describe: writes all that the folder has beside weights, their index and config.json.
        config: config.json, but for the note of the conversion.
        notes: lines for people.
    """

    streams: tuple[Stream, ...]
    stamps: dict[str, Any]
    describe: Callable[[Path], None]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()


def convert(wanted: Conversion, tell: Tell = print) -> None:
    """Writes a checkpoint as a folder of its own: LLaMA quantized, all else as it is stored, and all of it inside.

    Goes on where an interrupted call with the same source and options was; a file of weights gets its name when it is
    whole, and config.json, without which no folder is a checkpoint, comes last.

    Args:
        wanted: see there.
        tell: gets lines for people.

    Raises:
        ValueError: an option, the source or the output cannot be used, or the disk is too small; found before anything
            is written.
        OSError: the disk will not have it.
        KeyboardInterrupt: after SIGINT; what is finished stays.
    """
    wanted.check()
    output = wanted.output.resolve()
    check_output(output)
    device = choose_device(wanted.device)
    bitsandbytes = None if wanted.quantization == "none" else need_bitsandbytes(wanted.quantization)
    work = _work(wanted)
    _check_space(output, work.streams)
    with claimed(output, _identity(wanted, device, bitsandbytes, work)):
        try:
            _write_streams(work.streams, output, wanted.quantization, device)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from here", file=sys.stderr)
            raise
        _write_descriptions(work, output, wanted.quantization)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    for note in work.notes:
        tell(note)
    tell(f"{output} is ready, {size / 1e9:.2f} GB; it is loaded as any checkpoint is")


def _identity(wanted: Conversion, device: torch.device, bitsandbytes: str | None, work: Work) -> dict[str, Any]:
    """What must be the same for an interrupted conversion to go on."""
    return {
        "format": CONVERSION_FORMAT,
        "quantization": wanted.quantization,
        "device": device.type,
        "bitsandbytes": bitsandbytes,
        "shard_bytes": wanted.shard_bytes,
        **work.stamps,
    }


def _work(wanted: Conversion) -> Work:
    """What is to be done, by the model that the source is."""
    from lisa_ros import converting_lira, converting_segllm

    if family_of(wanted.source) == SEGLLM:
        return converting_segllm.work(wanted)
    return converting_lira.work(wanted) if converting_lira.is_source(wanted.source) else _lisa_work(wanted)


def _lisa_work(wanted: Conversion) -> Work:
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


def stamp(file: Path) -> list[int]:
    """Size and time of the last change."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _check_space(folder: Path, streams: Iterable[Stream]) -> None:
    """Raises a ValueError where the disk has no room for what is not finished."""
    needed = _SMALL_FILES
    for output in (output for stream in streams for output in stream.outputs):
        if not output.is_finished(folder):
            part = PlannedFile.part_of(folder / output.name)
            needed += output.plan.size - (part.stat().st_size if part.is_file() else 0)
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ValueError(f"{folder} needs {needed / 1e9:.2f} GB, but its disk has {free / 1e9:.2f} GB free")


def _write_streams(streams: Sequence[Stream], folder: Path, quantization: str, device: torch.device) -> None:
    outputs = [output for stream in streams for output in stream.outputs]
    finished = {output.name for output in outputs if output.is_finished(folder)}
    total = sum(output.source_bytes for output in outputs)
    done = sum(output.source_bytes for output in outputs if output.name in finished)
    # A log is not flooded, and who watches one still sees it move.
    interval = 0.5 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, initial=done, desc="converting", unit="B", unit_scale=True, mininterval=interval) as bar:
        for stream in streams:
            tensors = stream.tensors()
            for output in stream.outputs:
                pairs = zip(output.entries, islice(tensors, len(output.entries)), strict=True)
                if output.name in finished:
                    for _ in pairs:  # their bytes are not read
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
    """Writes a file tensor by tensor; what is not finished is deleted."""
    file.parent.mkdir(exist_ok=True)
    writing = PlannedFile(file, output.plan)
    try:
        for entry, (key, tensor) in pairs:
            if key != entry.key:
                raise RuntimeError(f"{key} was read where {entry.key} was planned: the source was changed meanwhile")
            for name, one in entry.tensors(tensor, quantization, device).items():
                writing.put(name, one)
            step(tensor.nbytes)
        writing.finish()
    except OSError as error:  # Python does not say which file a full disk refused
        writing.abandon()
        raise OSError(error.errno, f"{error.strerror}; mend it, and the same command goes on", str(file)) from error
    except BaseException:
        writing.abandon()
        raise


def _write_descriptions(work: Work, folder: Path, quantization: str) -> None:
    """Everything beside weights; config.json makes the folder a checkpoint, so it comes last, whole."""
    work.describe(folder)
    outputs = work.streams[0].outputs
    index = {
        "metadata": {"total_size": sum(layout.nbytes for one in outputs for layout in one.plan.layouts.values())},
        "weight_map": {key: one.name for one in outputs for key in one.plan.layouts},
    }
    _write_json(folder / "model.safetensors.index.json", index)
    note = {CONVERSION: {"format": CONVERSION_FORMAT, "quantization": quantization}}
    _write_json(folder / "config.json", work.config | note)


def _write_json(file: Path, value: object) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(file)
