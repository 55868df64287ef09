# SPDX-License-Identifier: Apache-2.0
"""`lisa convert`: writes a checkpoint as one folder that loads fast, quantized once."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch

from lisa_ros.models.common.checkpoints.configuration import CONVERSION_FORMAT
from lisa_ros.models.common.conversion.unfinished import check_output, claimed, digest, is_finished
from lisa_ros.models.common.conversion.work import Conversion, Report, Work
from lisa_ros.models.common.conversion.writing import check_space, write_descriptions, write_streams
from lisa_ros.models.common.devices import choose_device
from lisa_ros.models.common.weights.quantization import need_bitsandbytes
from lisa_ros.models.registry import OURS
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.scoring import carry_calibration


def convert(conversion: Conversion, report: Report = print) -> None:
    """Writes a checkpoint as a folder with everything in it: LLaMA quantized, all else unchanged.

    Resumes where an interrupted call with the same source and options stopped; does nothing where one has finished. A
    file of weights gets its name when it is complete, and config.json, without which no folder is a checkpoint, is
    written last.

    Args:
        conversion: the options.
        report: receives lines for people.

    Raises:
        LisaError: an option, the source or the output cannot be used, or the disk is too full; found before anything is
            written.
        OSError: a file cannot be written.
        KeyboardInterrupt: after SIGINT; finished files stay.
    """
    conversion.check()
    output = conversion.output.resolve()
    if conversion.source.resolve() in output.parents:
        raise LisaError(f"{output} is in the source {conversion.source}, which stays as it is; name a folder elsewhere")
    check_output(output)
    device = choose_device(conversion.device)
    bitsandbytes = None if conversion.quantization == "none" else need_bitsandbytes(conversion.quantization)
    work = _work(conversion)
    identity = _identity(conversion, device, bitsandbytes, work)
    if is_finished(output, identity):
        report(f"{output} holds this conversion already; nothing was changed")
        return
    check_space(output, work.streams)
    with claimed(output, identity):
        try:
            write_streams(work.streams, output, conversion.quantization, device)
        except KeyboardInterrupt:
            print("\nstopped; the same command resumes here", file=sys.stderr)
            raise
        write_descriptions(work, output, conversion.quantization, digest(identity))
        carry_calibration(conversion.source, output)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    for note in work.notes:
        report(note)
    report(f"{output} is ready, {size / 1e9:.2f} GB; load it like any checkpoint")


def _identity(conversion: Conversion, device: torch.device, bitsandbytes: str | None, work: Work) -> dict[str, Any]:
    """What must be the same to resume an interrupted conversion, or to find it finished."""
    return {
        "format": CONVERSION_FORMAT,
        "quantization": conversion.quantization,
        "device": device.type,
        "bitsandbytes": bitsandbytes,
        "shard_bytes": conversion.shard_bytes,
        **work.stamps,
    }


def _work(conversion: Conversion) -> Work:
    """The plan of a conversion, by the first model that recognizes the source."""
    for model in (one for one in OURS if one.converts):
        module = importlib.import_module(f"lisa_ros.models.{model.name}.conversion")
        if module.is_source(conversion.source):
            work: Work = module.plan(conversion)
            return work
    raise AssertionError("LISA accepts every source")
