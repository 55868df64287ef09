# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as one folder that loads fast, quantized once: what `lisa convert` does."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch

from lisa_ros.models.common.configuration import CONVERSION_FORMAT
from lisa_ros.models.common.conversion.unfinished import check_output, claimed
from lisa_ros.models.common.conversion.work import Conversion, Report, Work
from lisa_ros.models.common.conversion.writing import check_space, write_descriptions, write_streams
from lisa_ros.models.common.devices import choose_device
from lisa_ros.models.common.weights.quantization import need_bitsandbytes
from lisa_ros.models.loading import MODELS
from lisa_ros.segmentation.scoring import carry_calibration


def convert(wanted: Conversion, report: Report = print) -> None:
    """Writes a checkpoint as a folder of its own: LLaMA quantized, all else as it is stored, and all of it inside.

    Goes on where an interrupted call with the same source and options was; a file of weights gets its name when it is
    whole, and config.json, without which no folder is a checkpoint, comes last.

    Args:
        wanted: see there.
        report: receives lines for people.

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
    check_space(output, work.streams)
    with claimed(output, _identity(wanted, device, bitsandbytes, work)):
        try:
            write_streams(work.streams, output, wanted.quantization, device)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from here", file=sys.stderr)
            raise
        write_descriptions(work, output, wanted.quantization)
        carry_calibration(wanted.source, output)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    for note in work.notes:
        report(note)
    report(f"{output} is ready, {size / 1e9:.2f} GB; it is loaded as any checkpoint is")


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
    """The work that a conversion comes to, by the first model that recognises the source."""
    for name in MODELS:
        conversion = importlib.import_module(f"lisa_ros.models.{name}.conversion")
        if conversion.is_source(wanted.source):
            work: Work = conversion.work(wanted)
            return work
    raise AssertionError("LISA takes every source")
