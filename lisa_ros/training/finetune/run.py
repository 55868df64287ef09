# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes a checkpoint on folders of images with masks: what `lisa finetune` does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from lisa_ros import __version__
from lisa_ros.models.common.devices import choose_device
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa import Lisa, load_lisa
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.files.output_folders import check_output_folder, whole_folder
from lisa_ros.training.finetune.before_after import BeforeAfter, Report
from lisa_ros.training.finetune.general import Figures, falls
from lisa_ros.training.finetune.inputs import (
    Sets,
    check_images,
    check_output,
    check_source,
    clip_folder,
    computed,
    read_sets,
    schedule,
    settings_of,
)
from lisa_ros.training.finetune.lora import Learned, prepare, trained_parts
from lisa_ros.training.finetune.merging import write_merged
from lisa_ros.training.finetune.options import FinetuneOptions
from lisa_ros.training.finetune.regions import choose_images, give_whole_images
from lisa_ros.training.finetune.stage import FinetuneStage
from lisa_ros.training.language.targets import TargetEncoder
from lisa_ros.training.loop.states import Settings
from lisa_ros.training.loop.trainer import saved_state, train

NAME = "finetune"
"""Of the stage and its files in the work folder."""

_log = logging.getLogger(__name__)


def finetune(options: FinetuneOptions, report: Report = print) -> dict[str, Any]:
    """Fine-tunes a checkpoint and writes the result as a plain checkpoint folder.

    Resumes an interrupted call with the same options. The output folder appears when it is complete.

    Args:
        options: see there.
        report: receives lines for people.

    Returns:
        what the output's finetuning.json holds: source, data sets, settings, what was trained, and the figures before
        and after.

    Raises:
        ValueError: an option, folder, image, checkpoint or saved state cannot be used, found before any heavy work;
            or the training diverged.
        KeyboardInterrupt: after SIGINT; the state is saved.
        SystemExit: after SIGTERM, with 143; the state is saved.
    """
    options.check()
    check_output(options.output)
    check_output_folder(options.work_folder)
    load = options.load_on(choose_device(options.load.device).type)
    checkpoint = check_source(options)
    sets = read_sets(options)
    settings = {**checkpoint, **settings_of(options, load, sets)}
    plan = schedule(options, len(sets.own), sets.share)
    saved_state(NAME, plan, options.work_folder, settings, trained_only=True).check()
    check_images([*sets.own, *sets.held_out])
    options.work_folder.mkdir(parents=True, exist_ok=True)
    comparison = BeforeAfter(options.work_folder, sets, {**checkpoint, **computed(load)}, report)
    with whole_folder(options.output) as folder:  # from here on: nobody waits for a training that cannot be written
        result = _write(folder, sets, options, load, settings, comparison)
    report(f"{options.output} is ready; {options.work_folder} holds the logs and the last state, and may be deleted")
    return result


def _write(
    folder: Path,
    sets: Sets,
    options: FinetuneOptions,
    load: LoadOptions,
    settings: Settings,
    comparison: BeforeAfter,
) -> dict[str, Any]:
    """Trains, and writes the checkpoint into an empty folder; returns what its finetuning.json holds."""
    report = comparison.report
    lisa = load_lisa(options.checkpoint, load)
    lisa.encode_objects()
    before = comparison.before(lisa)
    whole_images = choose_images(lisa, sets.own)
    if whole_images:
        report(whole_images)
    learned = _learn(lisa, sets, options, settings, report)
    write_merged(options.checkpoint, clip_folder(options), learned, folder)
    if whole_images:
        give_whole_images(folder)
    trained = {one.name: one.weights for one in trained_parts(lisa.network)}
    del lisa, learned  # the memory may not hold two
    after = comparison.after(folder, load)
    result = _result(options, sets, settings, trained, before, after)
    write_json(folder / "finetuning.json", result)
    return result


def _learn(lisa: Lisa, sets: Sets, options: FinetuneOptions, settings: Settings, report: Report) -> Learned:
    plan = schedule(options, len(sets.own), sets.share)
    torch.manual_seed(options.seed)  # the adapters' first values
    prepare(lisa.network, options.lora, options.whole, options.checkpoint)
    if options.recompute == "on" or (options.recompute == "auto" and lisa.network.device.type == "cuda"):
        lisa.network.language.gradient_checkpointing_enable({"use_reentrant": False})
    stage = FinetuneStage(
        lisa.network,
        lisa.config,
        ClipPreprocessing(clip_folder(options)),
        TargetEncoder(lisa.tokenizer, TEMPLATES[options.load.template], lisa.config),
        sets.own,
        seed=options.seed,
        batch=options.batch,
        questions=options.questions,
        replay=sets.replay.samples if sets.replay else (),
        share=sets.share,
        find_region=lisa.find_region,
    )
    for part in trained_parts(lisa.network):
        report(f"training {part.name}: {part.weights / 1e6:.2f} M weights")
    epochs = plan.steps * options.batch * options.accumulate * (1 - sets.share) / len(sets.own)
    report(f"{len(sets.own)} images, {plan.steps} steps, each image about {epochs:.1f} times")
    if sets.replay is not None:
        report(f"replay: {sets.share:.0%} of each batch from {len(sets.replay.samples)} images of {sets.replay.name}")
    train(NAME, stage, stage.step, plan, options.work_folder, settings=settings, trained_only=True)
    return Learned(lisa.network)


def _result(
    options: FinetuneOptions,
    sets: Sets,
    settings: Settings,
    trained: dict[str, int],
    before: dict[str, Figures],
    after: dict[str, Figures],
) -> dict[str, Any]:
    """The content of finetuning.json; warns where a number of the check has fallen."""
    plan = schedule(options, len(sets.own), sets.share)
    warnings = falls(before["check"], after["check"], sets.check.name) if sets.check else []
    for warning in warnings:
        advice = "a larger --replay share" if sets.replay else "--replay"
        _log.warning("%s. Try %s, fewer --steps or a lower --learning-rate", warning, advice)
    return {
        "lisa_ros": __version__,
        "checkpoint": str(options.checkpoint.resolve()),
        "weights_sha256": one_hash(weights_of(options.checkpoint)),
        "data": [str(folder.resolve()) for folder in options.data],
        "images": len(sets.own),
        "validation": None if options.validation is None else str(options.validation.resolve()),
        "settings": {**plan.settings(), **{name: value for name, value in settings.items() if name != "data"}},
        "trained": trained,
        "held_out": {"images": len(sets.held_out), **_pair("held_out", before, after)} if sets.held_out else None,
        "replay": {"dataset": sets.replay.name, "share": sets.share, "images": len(sets.replay.samples)}
        if sets.replay
        else None,
        "check": {"dataset": sets.check.name, "images": len(sets.check.samples), **_pair("check", before, after)}
        if sets.check
        else None,
        "warnings": warnings,
    }


def _pair(name: str, before: dict[str, Figures], after: dict[str, Figures]) -> dict[str, Figures]:
    return {"before": before[name], "after": after[name]}
