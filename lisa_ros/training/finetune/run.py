# SPDX-License-Identifier: Apache-2.0
"""A checkpoint fine-tuned on folders of images: what `lisa finetune` does."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lisa_ros import __version__
from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.datasets.samples import DataError, Sample, usable
from lisa_ros.models.common.devices import choose_device
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.vision_tower import find_vision_tower
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.lisa import Lisa, load_lisa
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.segmentation.atomic_files import write_json
from lisa_ros.training.finetune.lora import Learned, prepare, trained_parts
from lisa_ros.training.finetune.merging import write_merged
from lisa_ros.training.finetune.options import FinetuneOptions
from lisa_ros.training.finetune.stage import FinetuneStage
from lisa_ros.training.language.targets import TargetEncoder
from lisa_ros.training.loop.states import Settings
from lisa_ros.training.loop.trainer import Schedule, saved_state, train
from lisa_ros.training.scenes.frozen_features import image_of
from lisa_ros.training.stages.held_out import score_held_out

NAME = "finetune"
"""Of the stage and its files in the work folder."""

SAMPLED_BYTES = 1_000_000

Report = Callable[[str], None]
Figures = dict[str, float]


def finetune(options: FinetuneOptions, report: Report = print) -> dict[str, Any]:
    """Fine-tunes a checkpoint and writes the result as a plain checkpoint folder.

    Goes on where an interrupted call with the same options was. The output appears when everything is done, whole.

    Args:
        options: see there.
        report: receives lines for people.

    Returns:
        what stands in the output's finetuning.json: source, data, options, what was trained, and gIoU and cIoU on the
        validation folder before and after.

    Raises:
        ValueError: an option, folder, image, checkpoint or saved state cannot be used, found before any heavy work;
            or the training diverged.
        KeyboardInterrupt: after SIGINT; the state is saved.
        SystemExit: after SIGTERM, with 143; the state is saved.
    """
    options.check()
    _check_output(options.output)
    samples = read_samples(options.data)
    held_out = read_samples([options.validation]) if options.validation else []
    load = options.load_on(choose_device(options.load.device).type)
    settings = _settings(options, load, samples)
    saved_state(NAME, schedule(options, len(samples)), options.work_folder, settings, trained_only=True).check()
    check_images([*samples, *held_out])
    options.work_folder.mkdir(parents=True, exist_ok=True)
    lisa = load_lisa(options.checkpoint, load)
    before = _before(lisa, held_out, options.work_folder, settings, report)
    learned = _learn(lisa, samples, options, settings, report)
    part = options.output.with_name(f"{options.output.name}.part")
    write_merged(options.checkpoint, _clip_folder(options), learned, part)
    trained = {one.name: one.weights for one in trained_parts(lisa.network)}
    del lisa, learned  # the memory may not hold two
    after = _figures(part, load, held_out, report)
    result = {
        "lisa_ros": __version__,
        "checkpoint": str(options.checkpoint.resolve()),
        "data": [str(folder.resolve()) for folder in options.data],
        "settings": {**schedule(options, len(samples)).settings(), **settings},
        "trained": trained,
        "held_out": {"pictures": len(held_out), "before": before, "after": after} if held_out else None,
    }
    write_json(part / "finetuning.json", result)
    _publish(part, options.output)
    report(f"{options.output} is ready; {options.work_folder} holds the logs and the last state, and may be deleted")
    return result


def schedule(options: FinetuneOptions, images: int) -> Schedule:
    """How long and how fast, for this many images; betas and decay are upstream's."""
    steps = options.steps or max(1, math.ceil(options.epochs * images / (options.batch * options.accumulate)))
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
    """The images of folders in ReasonSeg's format, with names that are unique among them.

    Raises:
        DataError: a folder or annotation cannot be used; nothing is passed over in silence.
    """
    samples: list[Sample] = []
    for folder in folders:
        found = usable(read_reason_seg(folder))
        samples += [replace(sample, name=f"{folder}/{sample.name}") for sample in found]
    if len({sample.name for sample in samples}) != len(samples):
        raise DataError(f"a folder is named twice: {', '.join(map(str, folders))}")
    return samples


def check_images(samples: Sequence[Sample]) -> None:
    """Reads every image and truth once, now rather than after hours. Raises a DataError that names what is wrong."""
    for sample in tqdm(samples, desc="checking pictures", unit="picture", disable=None, leave=False):
        size = image_of(sample).shape[:2]
        truths = {id(one.truth): one.truth for one in sample.rounds}
        for truth in truths.values():
            if truth().shape != size:
                raise DataError(f"{sample.name}: its truth is {truth().shape}, the picture {size} (H, W)")


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not empty; name another folder for the output, or delete it")
    if not output.name:
        raise ValueError(f"{output} has no name of its own; name a folder for the output")


def _settings(options: FinetuneOptions, load: LoadOptions, samples: Sequence[Sample]) -> Settings:
    """What the training depends on beside its schedule."""
    stored = read_configuration(options.checkpoint).stored  # raises for what is no LISA
    if stored != "none":
        raise ValueError(
            f"{options.checkpoint} is converted to {stored}, and what is learned cannot be added to such weights; "
            "fine-tune the checkpoint that it was converted from, with --quantization 4bit to save memory"
        )
    return {
        "checkpoint": _fingerprint(WeightFiles(options.checkpoint).files),
        "clip": _fingerprint(WeightFiles(_clip_folder(options)).files),
        "data": _digest(samples),
        "precision": load.precision,
        "quantization": load.quantization,
        "template": load.template,
        "batch": options.batch,
        "questions": options.questions,
        "whole": options.whole,
        **{f"lora_{key}": value for key, value in asdict(options.lora).items()},
    }


def _clip_folder(options: FinetuneOptions) -> Path:
    named = read_configuration(options.checkpoint).vision_tower
    return find_vision_tower(options.checkpoint, named, options.load.vision_tower)


def _fingerprint(files: Sequence[Path]) -> str:
    """Tells files apart by their sizes and samples of their bytes; to read all of LISA-7B would take a minute."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(str(size).encode())
        with file.open("rb") as stream:
            for place in (0, size // 2, max(0, size - SAMPLED_BYTES)):
                stream.seek(place)
                digest.update(stream.read(SAMPLED_BYTES))
    return digest.hexdigest()[:16]


def _digest(samples: Sequence[Sample]) -> str:
    """Tells data sets apart, wherever they lie: by the images' sizes and the annotations."""
    digest = hashlib.sha256()
    for sample in samples:
        if isinstance(sample.image, Path):
            digest.update(f"{sample.image.name} {sample.image.stat().st_size}".encode())
            digest.update(sample.image.with_suffix(".json").read_bytes())
        digest.update(repr([one.answer for one in sample.rounds]).encode())
    return digest.hexdigest()[:16]


def _before(lisa: Lisa, held_out: Sequence[Sample], work: Path, settings: Settings, report: Report) -> Figures | None:
    """The figures of the checkpoint as it was; asked once, kept in the work folder."""
    if not held_out:
        return None
    file = work / "before.json"
    key = {name: settings[name] for name in ("checkpoint", "clip", "precision", "quantization", "template")}
    key["held_out"] = _digest(held_out)
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if kept.get("of") != key:
        found = score_held_out(LisaSegmenter(lisa), held_out)
        kept = {"of": key, "figures": {"giou": found.giou, "ciou": found.ciou}}
        write_json(file, kept)
    figures: Figures = kept["figures"]
    report(_told("before", figures, len(held_out)))
    return figures


def _figures(folder: Path, load: LoadOptions, held_out: Sequence[Sample], report: Report) -> Figures | None:
    """The figures of the folder that was written, which is what its users will load."""
    if not held_out:
        return None
    found = score_held_out(LisaSegmenter(load_lisa(folder, load)), held_out)
    figures = {"giou": found.giou, "ciou": found.ciou}
    report(_told("after", figures, len(held_out)))
    return figures


def _told(when: str, figures: Figures, images: int) -> str:
    return f"{when}: gIoU {figures['giou']:.3f}, cIoU {figures['ciou']:.3f} on {images} held-out pictures"


def _learn(
    lisa: Lisa, samples: Sequence[Sample], options: FinetuneOptions, settings: Settings, report: Report
) -> Learned:
    plan = schedule(options, len(samples))
    torch.manual_seed(options.seed)  # the adapters' first values
    prepare(lisa.network, options.lora, options.whole, options.checkpoint)
    if options.recompute == "on" or (options.recompute == "auto" and lisa.network.device.type == "cuda"):
        lisa.network.language.gradient_checkpointing_enable({"use_reentrant": False})
    stage = FinetuneStage(
        lisa.network,
        lisa.config,
        ClipPreprocessing(_clip_folder(options)),
        TargetEncoder(lisa.tokenizer, TEMPLATES[options.load.template], lisa.config.wrap_image),
        samples,
        seed=options.seed,
        batch=options.batch,
        questions=options.questions,
    )
    for part in trained_parts(lisa.network):
        report(f"training {part.name}: {part.weights / 1e6:.2f} M weights")
    epochs = plan.steps * options.batch * options.accumulate / len(samples)
    report(f"{len(samples)} pictures, {plan.steps} steps, each picture about {epochs:.1f} times")
    train(NAME, stage, stage.step, plan, options.work_folder, settings=settings, trained_only=True)
    return Learned(lisa.network)


def _publish(part: Path, output: Path) -> None:
    """The finished folder under its name, at once."""
    if output.is_dir():
        output.rmdir()  # empty, as was checked; if no longer, this refuses
    part.rename(output)
