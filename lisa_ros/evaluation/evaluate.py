# SPDX-License-Identifier: Apache-2.0
"""One evaluation run: a model is asked the questions of a data set by one protocol, scored and reported."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lisa_ros import __version__
from lisa_ros.datasets.catalogue import DATASETS, DataSet, Source
from lisa_ros.datasets.masks import decode_mask
from lisa_ros.datasets.samples import DataError, Sample, Truth
from lisa_ros.evaluation.identity import check_claim, claim, hash_of_questions
from lisa_ros.evaluation.items import Item, ItemLog, in_order
from lisa_ros.evaluation.protocols import Asking, generate, referring, teacher_forced
from lisa_ros.evaluation.report import RunReport, write_report
from lisa_ros.evaluation.runner import evaluate, keys_of, unfinished
from lisa_ros.models.common.checkpoints.hub import find_folder, title_of
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import crops_of, load_segmenter, model_of
from lisa_ros.segmentation.answers import AnswerKind, check_answer_kind
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.files.output_folders import check_output_folder
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.scoring import FILE as SCORE_FILE

Load = Callable[[Path, LoadOptions], Segmenter]

_PUBLISHED: dict[str, Callable[[Segmenter], Asking]] = {"teacher_forced": teacher_forced, "referring": referring}
"""Protocols whose questions are those of a model's authors."""


INTERRUPTED = 130
"""Exit status after Ctrl-C."""


@dataclass(frozen=True)
class Evaluation:
    """The input of a run.

    Attributes:
        dataset: a name in datasets.catalogue.
        source: which part of it, where it lies, and how much of it.
        protocol: one of evaluation.options.PROTOCOLS.
        output: the folder for items.jsonl, results.json, results.csv, items.csv and report.html; an interrupted run
            resumes there.
        checkpoint, options, max_new_tokens: the model, and the maximum length of its answers. Under "quantization" the
            weights are compared in 8 and in 4 bits, or only as options.quantization says.
        phrasing: one of evaluation.options.PHRASINGS, where answers are generated; None: the data set's usual one.
        rule: one of evaluation.options.MASK_RULES, where answers are generated.
        references: one of evaluation.options.REFERENCES, where answers are generated.
        all_texts: ask every text that an image has, not the first alone.
        report_images: how many questions the report shows.
        answer: one of segmentation.answers.ANSWER_KINDS, where answers are generated.
        reports_score_quality: whether the quality of the masks' confidences is reported. False in a calibration, which
            resumes whatever calibration the checkpoint has.
    """

    dataset: str
    source: Source
    protocol: str
    output: Path
    checkpoint: Path
    options: LoadOptions = dataclasses.field(default_factory=LoadOptions)
    max_new_tokens: int = 512
    phrasing: str | None = None
    rule: str = "first"
    references: str = "own"
    all_texts: bool = False
    report_images: int = 60
    answer: AnswerKind = "full"
    reports_score_quality: bool = True

    @property
    def data(self) -> DataSet:
        """The data set."""
        return DATASETS[self.dataset]

    @property
    def used_phrasing(self) -> str:
        """How questions are phrased, one of evaluation.options.PHRASINGS."""
        if self.protocol in _PUBLISHED:
            return "upstream"
        return self.phrasing or ("plain" if self.data.plain else "upstream")

    @property
    def variants(self) -> tuple[str, ...]:
        """The quantizations that are compared; none under other protocols."""
        if self.protocol != "quantization":
            return ()
        chosen = self.options.quantization
        return (chosen,) if chosen in ("8bit", "4bit") else ("8bit", "4bit")


@dataclass(frozen=True)
class Selection:
    """The samples of a run.

    Attributes:
        samples: in order.
        total: images or dialogues of the whole split.
        identity: number and hash of the whole split's questions; None where they are rendered only when needed.
    """

    samples: list[Sample]
    total: int
    identity: dict[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole split."""
        return len(self.samples) == self.total


def run_evaluation(wanted: Evaluation, load: Load = load_segmenter) -> int:
    """Evaluates, prints the table and writes the output folder's files, see Evaluation.output.

    A run resumes in its folder: questions that were scored are not asked again. Ctrl-C ends with a partial table.

    Returns:
        the exit status: 0; 1, some questions failed; 130 after Ctrl-C.

    Raises:
        ValueError: the data set, the checkpoint or the output folder cannot be used, or all questions failed.
    """
    check_answer_kind(wanted.answer)
    if wanted.answer != "full" and wanted.protocol != "generate":
        raise LisaError(f"answer {wanted.answer} goes with the protocol generate; {wanted.protocol} has its own")
    check_output_folder(wanted.output)
    wanted = dataclasses.replace(wanted, source=wanted.data.resolve(wanted.source), options=_resolved(wanted))
    weights = weights_of(wanted.checkpoint)
    selection = _select(wanted)
    identity = _identity(wanted, selection, one_hash(weights))
    check_claim(wanted.output, identity)
    run = _Run(wanted, selection, identity, {"weights": weights, "lisa_ros": __version__}, load)
    with ItemLog(wanted.output / "items.jsonl") as log:
        finished = True
        try:
            if wanted.protocol == "quantization":
                run.compare(log)
            else:
                run.evaluate(log)
        except KeyboardInterrupt:
            finished = False
            print("\nstopped; the same command resumes from here", file=sys.stderr)
        failed = run.report(log, finished)
    return INTERRUPTED if not finished else 1 if failed else 0


class _Run:
    """The passes of one run that its protocol has, and their report."""

    def __init__(
        self, wanted: Evaluation, selection: Selection, identity: dict[str, Any], notes: dict[str, Any], load: Load
    ) -> None:
        self._wanted, self._selection, self._identity, self._notes = wanted, selection, identity, notes
        self._load = load
        self._passes: list[tuple[str, list[Sample]]] = []

    def evaluate(self, log: ItemLog) -> None:
        """One pass, scored against the data set's masks."""
        self._pass(self._selection.samples, log, self._wanted.options)

    def compare(self, log: ItemLog) -> None:
        """A pass without quantization; its answers are the reference of each quantized pass."""
        samples = self._selection.samples
        with ItemLog(self._wanted.output / "reference.jsonl") as reference:
            plain = dataclasses.replace(self._wanted.options, quantization="none")
            self._pass(samples, reference, plain, kept=False, title="16 bit")
            answered = [_answered(sample, reference) for sample in samples]
        for variant in self._wanted.variants:
            self._pass(answered, log, dataclasses.replace(self._wanted.options, quantization=variant), variant)

    def _pass(
        self,
        samples: list[Sample],
        log: ItemLog,
        options: LoadOptions,
        variant: str = "",
        *,
        kept: bool = True,
        title: str = "",
    ) -> None:
        if kept:
            self._passes.append((variant, samples))
        from lisa_ros.models.common.devices import free_memory

        log.check_texts(samples, variant)
        if not unfinished(samples, log, variant):
            return
        free_memory()  # of the pass before
        segmenter = self._load(self._wanted.checkpoint, options)
        print(title or variant or self._wanted.protocol, segmenter.name, sep=": ", file=sys.stderr)
        asking = self._asking(segmenter)
        claim(self._wanted.output, self._identity)
        evaluate(samples, segmenter, asking, log, rule=self._wanted.rule, variant=variant)

    def _asking(self, segmenter: Segmenter) -> Asking:
        wanted = self._wanted
        if published := _PUBLISHED.get(wanted.protocol):
            return published(segmenter)
        return generate(segmenter, wanted.used_phrasing, wanted.max_new_tokens, wanted.answer, wanted.references)

    def report(self, log: ItemLog, finished: bool) -> int:
        """Prints the table and writes the files; returns how many questions failed."""
        wanted = self._wanted
        keys = (key for variant, samples in self._passes for key in keys_of(samples, variant))
        items = in_order(log.items, keys)
        if not items and not finished:
            return 0
        failed = [item for item in items if item.failed is not None]
        write_report(
            RunReport(
                folder=wanted.output,
                title=f"{wanted.dataset} {wanted.source.split}: {wanted.protocol}",
                settings=self._settings(finished),
                items=items,
                data=wanted.data,
                samples={(variant, sample.name): sample for variant, samples in self._passes for sample in samples},
                truth_title="16 bit" if wanted.protocol == "quantization" else "truth",
                notes=self._remarks(finished, len(failed), len(items)),
                reports_score_quality=wanted.protocol == "generate" and wanted.reports_score_quality,
            ),
            wanted.report_images,
        )
        if failed:
            print(f"{len(failed)} of {len(items)} questions failed; the first: {failed[0].failed}", file=sys.stderr)
        if finished and len(failed) == len(items):
            why = failed[0].failed if failed else "there are none"
            raise DataError(f"all questions failed; the first: {why}")
        return len(failed)

    def _settings(self, finished: bool) -> dict[str, Any]:
        wanted, selection = self._wanted, self._selection
        return {
            **self._identity,
            **self._notes,
            "questions": sum(len(sample.rounds) for sample in selection.samples),
            "images": len(selection.samples),
            "images_of_split": selection.total,
            "data": None if wanted.source.folder is None else str(wanted.source.folder),
            "images_folder": None if wanted.source.images is None else str(wanted.source.images),
            "limit": wanted.source.limit,
            "complete": finished and selection.is_whole,
        }

    def _remarks(self, finished: bool, failed: int, items: int) -> list[str]:
        selection = self._selection
        remarks = [] if finished else ["This run was stopped before its end; the numbers are partial."]
        if not selection.is_whole:
            remarks.append(f"Limited to the first {len(selection.samples)} of {selection.total} images or dialogues.")
        if failed:
            remarks.append(f"{failed} of {items} questions failed and are not counted.")
        return remarks


def _resolved(wanted: Evaluation) -> LoadOptions:
    """The options with what a quantization of "auto" means for the checkpoint."""
    from lisa_ros.models.common.checkpoints.configuration import resolve_quantization

    if wanted.protocol == "quantization":
        if wanted.options.quantization == "none":
            raise LisaError(
                "the protocol quantization compares 8bit and 4bit with the weights as they are; "
                "name one of the two with --quantization, or leave it out for both"
            )
        # Compared with answers of the weights without quantization; a folder that does not have them is refused.
        resolve_quantization(wanted.checkpoint, "none")
    quantization = resolve_quantization(wanted.checkpoint, wanted.options.quantization)
    # The data set says what a round refers to, whatever its text is.
    explicit = model_of(wanted.checkpoint) == "segllm"
    return dataclasses.replace(wanted.options, quantization=quantization, explicit_references=explicit)


def _select(wanted: Evaluation) -> Selection:
    samples = wanted.data.read(wanted.source)
    if wanted.data.first_text and not wanted.all_texts:
        samples = [dataclasses.replace(sample, rounds=sample.rounds[:1]) for sample in samples]
    if not samples:
        raise DataError(f"{wanted.dataset} has nothing in split {wanted.source.split!r}")
    if wanted.data.total is not None:
        return Selection(samples, wanted.data.total(wanted.source), {})
    count = sum(len(sample.rounds) for sample in samples)
    identity = {"questions": count, "questions_sha256": hash_of_questions(samples)}
    return Selection(samples[: wanted.source.limit], len(samples), identity)


def _identity(wanted: Evaluation, selection: Selection, weights: str) -> dict[str, Any]:
    """What must be the same for two runs to be one, by the names that results.json has for it."""
    generated = wanted.protocol not in _PUBLISHED
    models = ("none", *wanted.variants) if wanted.variants else (wanted.options.quantization,)
    return {
        "protocol": wanted.protocol,
        "dataset": wanted.dataset,
        "split": wanted.source.split,
        "partition": wanted.source.partition,
        **selection.identity,
        "checkpoint": title_of(wanted.checkpoint),
        "weights_sha256": weights,
        "vision_tower": wanted.options.vision_tower,
        "template": wanted.options.template,
        "quantization": list(models) if wanted.variants else models[0],
        "computed_in": {model: _computed_in(wanted.options, model) for model in models},
        "phrasing": wanted.used_phrasing,
        "mask": wanted.rule if generated else None,
        "references": wanted.references if generated else None,
        "fusion_scales": wanted.options.fusion_scales,
        "max_new_tokens": wanted.max_new_tokens if generated else None,
        **(_of_answers(wanted) if generated else {}),
        **({"model_options": list(wanted.options.model_options)} if wanted.options.model_options else {}),
        **_of_crops(wanted),
        **_second_models(wanted.options),
    }


def _second_models(options: LoadOptions) -> dict[str, str]:
    """The folders' names and the hashes of their weights: other weights are another run, another place is not."""
    named: dict[str, str] = {}
    for option, name in options.second_models().items():
        folder = find_folder(name, option)
        named |= {option: title_of(folder), f"{option}_sha256": one_hash(weights_of(folder))}
    return named


def _of_crops(wanted: Evaluation) -> dict[str, Any]:
    """Where answers from several crops of an image vote, their scores decide which one counts."""
    crops = 1 if wanted.protocol == "teacher_forced" else crops_of(wanted.checkpoint, wanted.options)
    if crops == 1 or wanted.answer == "mask_only":
        return {}
    return {"crops": crops, "score_sha256": _hash_of_scores(wanted.checkpoint)}


def _of_answers(wanted: Evaluation) -> dict[str, str]:
    """Named only where it applies, so that folders of earlier versions resume."""
    named: dict[str, str] = {"answer": wanted.answer} if wanted.answer != "full" else {}
    if wanted.reports_score_quality and (scores := _hash_of_scores(wanted.checkpoint)):
        named["score_sha256"] = scores
    return named


def _hash_of_scores(checkpoint: Path) -> str | None:
    """Of the checkpoint's calibration; None: it has none."""
    calibration = checkpoint / SCORE_FILE
    return hashlib.sha256(calibration.read_bytes()).hexdigest() if calibration.is_file() else None


def _computed_in(options: LoadOptions, quantization: str) -> str:
    """For example "float32 on cpu": what "auto" means on this machine."""
    from lisa_ros.models.common.devices import choose_device, choose_dtype

    options = dataclasses.replace(options, quantization=quantization)
    options.check()
    device = choose_device(options.device)
    return f"{str(choose_dtype(options, device)).removeprefix('torch.')} on {device.type}"


def _answered(sample: Sample, reference: ItemLog) -> Sample:
    """The sample with another model's answers as its truth."""
    items = [reference.items.get(("", sample.name, number)) for number in range(1, len(sample.rounds) + 1)]
    rounds = (
        dataclasses.replace(asked, truth=partial(_found, item), answer=item.answer if item else None)
        for asked, item in zip(sample.rounds, items, strict=True)
    )
    return dataclasses.replace(sample, rounds=tuple(rounds))


def _found(item: Item | None) -> Truth:
    if item is None or item.failed is not None:
        raise DataError(f"there is no answer of the 16-bit model: {item.failed if item else 'it is missing'}")
    return decode_mask(item.found, item.size).astype("uint8")
