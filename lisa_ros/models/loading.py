# SPDX-License-Identifier: Apache-2.0
"""Loads a checkpoint folder as a Segmenter of the model that its config.json names. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from lisa_ros.models.common.answers.segmenter import LoadedSegmenter
from lisa_ros.models.common.checkpoints.hub import find_folder
from lisa_ros.models.common.config_file import config_of
from lisa_ros.models.common.options import DEFAULT_SAM3, MEASURED_THREADS, LoadOptions
from lisa_ros.models.registry import ModelDescription, registry
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.manifest import differences
from lisa_ros.segmentation.interface import Segmenter


def description_of(checkpoint: Path) -> ModelDescription:
    """The model that a checkpoint folder holds.

    A folder that cannot be read, or does not name its model, counts as LISA's: LISA's loader has the clearest errors.
    """
    return registry().model_of(config_of(checkpoint))


def model_of(checkpoint: Path) -> str:
    """The name of the model that a checkpoint folder holds, see `description_of`."""
    return description_of(checkpoint).name


def crops_of(checkpoint: Path, options: LoadOptions) -> int:
    """From how many crops of an image the model answers at most, see docs/models.md; 1 for all models but LISA.

    Raises:
        LisaError: a model option has a value that it cannot have.
    """
    from lisa_ros.models.lisa.segmenter import most_crops

    return most_crops(config_of(checkpoint), options) if model_of(checkpoint) == "lisa" else 1


def with_one_crop(options: LoadOptions) -> LoadOptions:
    """The same options, but each command is answered from one crop of the image; for checkpoints of LISA."""
    own = {**options.own_options(), "crops": "1"}
    return replace(options, model_options=tuple(f"{name}={value}" for name, value in own.items()))


def embedded_checkpoint() -> Path:
    """The folder of the small LISA that comes with the package, trained on the simulated table."""
    return Path(__file__).parent.parent / "checkpoints" / "tabletop"


def load_segmenter(checkpoint: Path | str, options: LoadOptions | None = None) -> Segmenter:
    """Loads a checkpoint folder.

    Args:
        checkpoint: a folder as released, or as `lisa convert` wrote it; or the id of a Hugging Face repository.
        options: precision, quantization, device and so on.

    Raises:
        LisaError: the folder or an option cannot be used; the text says what would be right.
    """
    # OpenMP's threads spin while they wait for each other, which makes a small network many times slower while other
    # work runs. torch reads this variable when it is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if options is not None:
        options.check()
    folder = find_folder(checkpoint)
    if folder == embedded_checkpoint():
        _check_embedded(folder)
    model = description_of(folder)
    if options is not None:
        model.check_options(options)
        _check_second_models(options)  # before the first one is loaded, which can take minutes
    segmenter = model.load(folder, options)
    if options is not None and options.threads is not None:
        _set_threads(segmenter, options.threads)
    return combined(segmenter, options or LoadOptions())


def combined(segmenter: Segmenter, options: LoadOptions) -> Segmenter:
    """The model with SAM 3 for names of objects and SAM 2 for finer masks, as the options say; else as it is.

    Args:
        segmenter: any model, a server's included.
        options: segmenter, names_checkpoint, refine_masks, refine_checkpoint; device and precision are for all.

    Raises:
        LisaError: one of the checkpoints cannot be used.
    """
    options.check()
    if options.segmenter == "auto":
        segmenter = _with_names(segmenter, options)
    if options.refine_masks == "sam2":
        segmenter = _with_refinement(segmenter, options)
    return segmenter


def _check_second_models(options: LoadOptions) -> None:
    for option, name in options.second_models().items():
        find_folder(name, option)
    if options.segmenter == "auto":
        _names_model(options)


def _names_model(options: LoadOptions) -> tuple[Path, ModelDescription]:
    folder = find_folder(options.names_checkpoint, "names_checkpoint")
    model = description_of(folder)
    if model.name != "sam3":
        raise LisaError(f"names_checkpoint {folder} holds {model.title}; SAM 3 is expected, such as {DEFAULT_SAM3}")
    return folder, model


def _with_names(reasoning: Segmenter, options: LoadOptions) -> Segmenter:
    from lisa_ros.models.combined.by_name import ByNameSegmenter

    folder, model = _names_model(options)
    own = LoadOptions(precision=options.precision, device=options.device)
    return ByNameSegmenter(reasoning, model.load(folder, own))


def _with_refinement(model: Segmenter, options: LoadOptions) -> Segmenter:
    from lisa_ros.models.combined.refined import RefinedSegmenter
    from lisa_ros.models.common.devices import choose_device, choose_dtype
    from lisa_ros.models.common.sam2 import load_sam2

    device = choose_device(options.device)
    dtype = choose_dtype(replace(options, quantization="none"), device)
    sam2 = load_sam2(options.refine_checkpoint, device, dtype)
    return RefinedSegmenter(model, sam2, Path(options.refine_checkpoint).name)


def _check_embedded(folder: Path) -> None:
    if found := differences(folder):
        raise LisaError(
            f"The embedded checkpoint {folder} is damaged ({'; '.join(found[:3])}); install the package again, or, if "
            f"it was changed on purpose, run `lisa verify --checkpoint {folder} --write`"
        )


def _set_threads(segmenter: Segmenter, wanted: int) -> None:
    """Sets the number of CPU threads. On a GPU nothing is measured, since the CPU does little there."""
    from lisa_ros.models.common.threads import choose_threads

    on_gpu = segmenter.memory().allocated_bytes > 0
    if on_gpu and wanted == MEASURED_THREADS:
        return
    chosen = choose_threads(wanted, lambda: _answer_once(segmenter))
    if isinstance(segmenter, LoadedSegmenter):
        segmenter.threads = chosen


def _answer_once(segmenter: Segmenter) -> None:
    """One command about a new image, as a node would get it."""
    encoded = segmenter.encode(np.zeros((480, 640, 3), dtype=np.uint8))
    for _ in segmenter.session(encoded).segment("the red mug", max_new_tokens=8):
        pass
