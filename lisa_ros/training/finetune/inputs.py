# SPDX-License-Identifier: Apache-2.0
"""The inputs of a fine-tuning, read and checked before the model is loaded."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lisa_ros.datasets.own.inspection import inspect
from lisa_ros.datasets.own.reading import read_folder
from lisa_ros.datasets.samples import DataError, Sample, usable
from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.lisa.configuration import LisaConfig, read_configuration
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.output_folders import OutputError, check_output_folder
from lisa_ros.training.finetune import general
from lisa_ros.training.finetune.fingerprints import files_fingerprint, one_fingerprint, samples_fingerprint
from lisa_ros.training.finetune.general import GeneralSet
from lisa_ros.training.finetune.options import FinetuneOptions
from lisa_ros.training.loop.states import Settings
from lisa_ros.training.loop.trainer import Schedule

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sets:
    """The data of a fine-tuning.

    Attributes:
        own: the training images.
        held_out: the validation's; may be empty.
        replay: general examples that are mixed in; None: none.
        share: share of each batch's images that are replayed.
        check: general questions for an evaluation before and after; None: none.
    """

    own: Sequence[Sample]
    held_out: Sequence[Sample]
    replay: GeneralSet | None
    share: float
    check: GeneralSet | None


def schedule(options: FinetuneOptions, images: int, share: float = 0.0) -> Schedule:
    """Number of steps and learning rate for this many training images; betas and decay are upstream's.

    Args:
        options: see there.
        images: number of training images.
        share: share of each batch that is replayed.
    """
    own_in_step = options.batch * options.accumulate * (1 - share)
    steps = options.steps or max(1, math.ceil(options.epochs * images / own_in_step))
    return Schedule(
        steps=steps,
        learning_rate=options.learning_rate,
        warmup=min(100, max(1, steps // 10)),
        weight_decay=0.0,
        betas=(0.9, 0.95),
        save_every=options.save_every,
        accumulate=options.accumulate,
        seed=options.seed,
        log_every=1,
        image_every=max(1, steps // 10),
    )


def read_samples(folders: Sequence[Path]) -> list[Sample]:
    """The samples of folders in any format of `lisa data`, with names that are unique among them.

    Raises:
        DataError: a folder or annotation cannot be used; nothing is left out silently.
    """
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise DataError(f"a folder is named twice: {', '.join(map(str, folders))}")
    samples: list[Sample] = []
    for folder in folders:
        samples += [replace(one, name=f"{folder}/{one.name}") for one in usable(read_folder(folder))]
    return samples


def check_images(samples: Sequence[Sample]) -> None:
    """Reads every image and mask once, so that an error shows now and not after hours.

    Raises:
        DataError: one cannot be used; the text names the first, and how many there are.
    """
    found = inspect(samples)
    if found.problems:
        more = f" (and {len(found.problems) - 1} more such images)" if len(found.problems) > 1 else ""
        raise DataError(f"{found.problems[0]}{more}")
    if found.cut:
        _log.warning("%d shapes reach outside their images and are cut at the edge", found.cut)
    if found.outliers or found.contradictions:
        _log.warning(
            "%d questions look wrong (a very small or very large mask, a very long text, one text with two masks); "
            "`lisa data check FOLDER --output DIR` shows them",
            len(found.outliers) + len(found.contradictions),
        )


def check_output(output: Path) -> None:
    """Refuses an output that is not a new or empty folder. Raises an OutputError."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output} exists and is not empty; name another folder for the output, or delete it")
    if not output.name:
        raise OutputError(f"{output} has no name of its own; name a folder for the output")
    check_output_folder(output)


def check_source(options: FinetuneOptions) -> Settings:
    """Refuses a checkpoint that cannot be fine-tuned; returns what identifies it."""
    configuration = read_configuration(options.checkpoint)  # raises for what is no LISA
    _check_rank(options, configuration)
    stored = configuration.stored
    if stored != "none":
        raise LisaError(
            f"{options.checkpoint} is converted to {stored}, and what is learned cannot be added to such weights; "
            "fine-tune the checkpoint that it was converted from, with --quantization 4bit to save memory"
        )
    return {
        "checkpoint": files_fingerprint(WeightFiles(options.checkpoint).files),
        "clip": files_fingerprint(WeightFiles(clip_folder(options)).files),
    }


def _check_rank(options: FinetuneOptions, configuration: LisaConfig) -> None:
    """Refuses adapters that have more weights than the layers that they are added to."""
    width = configuration.language.hidden_size
    if options.lora.rank > width:
        raise LisaError(
            f"rank is {options.lora.rank}; it can be at most {width}, the width of LLaMA's layers in "
            f"{options.checkpoint}. 4 to 64 are usual"
        )


def read_sets(options: FinetuneOptions) -> Sets:
    """Reads all data sets. Raises a DataError where one cannot be used."""
    own = read_samples(options.data)
    held_out = read_samples([options.validation]) if options.validation else []
    replay = general.chosen(options.replay, options.checkpoint)
    check = general.chosen(options.check_data, options.checkpoint)
    share = general.share_of(replay)
    steps = schedule(options, len(own), share).steps
    replayed = math.ceil(steps * options.batch * options.accumulate * share)
    return Sets(
        own,
        held_out,
        general.read_replay(replay, replayed, options.seed) if replay else None,
        share,
        general.read_check(check, options.seed) if check else None,
    )


def computed(load: LoadOptions) -> Settings:
    """How the checkpoint is computed, by name."""
    return {"precision": load.precision, "quantization": load.quantization, "template": load.template}


def settings_of(options: FinetuneOptions, load: LoadOptions, sets: Sets) -> Settings:
    """What the training depends on beside the checkpoint and its schedule."""
    replay: Settings = {}
    if sets.replay is not None:
        found = one_fingerprint(samples_fingerprint(sets.replay.samples))
        replay = {"replay": {"dataset": sets.replay.name, "share": sets.share, "examples": found}}
    return {
        "data": samples_fingerprint(_named_alike(sets.own, options.data)),
        **replay,
        **computed(load),
        "batch": options.batch,
        "questions": options.questions,
        "trained_whole": options.whole,
        **{f"lora_{key}": value for key, value in asdict(options.lora).items()},
    }


def _named_alike(samples: Sequence[Sample], folders: Sequence[Path]) -> list[Sample]:
    """The samples by the last names of their folders: the same data set elsewhere is the same."""
    names = [folder.resolve().name for folder in folders]
    short = {
        str(folder): name if names.count(name) == 1 else f"{name}#{number}"
        for number, (folder, name) in enumerate(zip(folders, names, strict=True), start=1)
    }

    def renamed(sample: Sample) -> Sample:
        folder = max((one for one in short if sample.name.startswith(f"{one}/")), key=len)
        return replace(sample, name=f"{short[folder]}/{sample.name.removeprefix(f'{folder}/')}")

    return [renamed(sample) for sample in samples]


def clip_folder(options: FinetuneOptions) -> Path:
    """The checkpoint's CLIP."""
    named = read_configuration(options.checkpoint).vision_tower
    return find_vision_tower(options.checkpoint, named, options.load.vision_tower)
