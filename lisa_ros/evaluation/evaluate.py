# SPDX-License-Identifier: Apache-2.0
"""A data set put to a model by one protocol, judged and reported in a folder: what `lisa evaluate` does."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lisa_ros import __version__
from lisa_ros.datasets.catalogue import DATASETS, DataSet, Source
from lisa_ros.datasets.masks import decode_mask
from lisa_ros.datasets.samples import DataError, Sample, Truth
from lisa_ros.evaluation.identity import claim, hash_of_questions
from lisa_ros.evaluation.items import Item, ItemLog, in_order
from lisa_ros.evaluation.protocols import Asking, generate, referring, teacher_forced
from lisa_ros.evaluation.reliability import Reliability, diagram, reliability
from lisa_ros.evaluation.report import Page, page
from lisa_ros.evaluation.runner import evaluate, keys_of, unfinished
from lisa_ros.evaluation.tables import Row, markdown, rows_of
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import AnswerKind
from lisa_ros.segmentation.atomic_files import write_text
from lisa_ros.segmentation.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.scoring import FILE as SCORE_FILE

Load = Callable[[Path, LoadOptions], Segmenter]

_PUBLISHED: dict[str, Callable[[Segmenter], Asking]] = {"teacher_forced": teacher_forced, "referring": referring}
"""Protocols in which a model's authors ask in their own words, and there is nothing to choose."""


@dataclass(frozen=True)
class Evaluation:
    """What is to be evaluated, and how.

    Attributes:
        dataset: a name in datasets.catalogue.
        source: which part of it, and where it lies.
        protocol: one of evaluation.options.PROTOCOLS.
        output: the folder for items.jsonl, results.json and report.html; an interrupted run goes on there.
        checkpoint, options, max_new_tokens: the model, and its longest answer. Under "quantization" the weights are
            compared in 8 and in 4 bits, or only as options.quantization says.
        limit: only the first so many pictures or dialogues; None: all.
        phrasing: one of evaluation.options.PHRASINGS, where answers are generated; None: the data set's usual one.
        rule: one of evaluation.options.MASK_RULES, where answers are generated.
        references: one of evaluation.options.REFERENCES, where answers are generated.
        all_texts: ask every text that ReasonSeg has for a picture, not the first alone.
        pictures: how many questions the report shows.
        answer: one of segmenter.ANSWER_KINDS, where answers are generated.
        judges_scores: False: the masks' scores are still to be calibrated, so that a run goes on with whatever
            calibration the checkpoint has.
    """

    dataset: str
    source: Source
    protocol: str
    output: Path
    checkpoint: Path
    options: LoadOptions = dataclasses.field(default_factory=LoadOptions)
    max_new_tokens: int = 512
    limit: int | None = None
    phrasing: str | None = None
    rule: str = "first"
    references: str = "own"
    all_texts: bool = False
    pictures: int = 60
    answer: AnswerKind = "full"
    judges_scores: bool = True

    @property
    def data(self) -> DataSet:
        """The data set."""
        return DATASETS[self.dataset]

    @property
    def asked_as(self) -> str:
        """How questions are put, one of evaluation.options.PHRASINGS."""
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


def run_evaluation(wanted: Evaluation, load: Load = load_segmenter) -> int:
    """Evaluates, prints the table and writes items.jsonl, results.json and report.html.

    What was judged before in the same folder by the same run is not judged again. Ctrl-C ends with a partial table.

    Returns:
        the exit status: 0, or 130 after Ctrl-C.

    Raises:
        ValueError: the data set, the checkpoint or the output folder cannot be used, or no question could be judged.
    """
    if wanted.answer != "full" and wanted.protocol != "generate":
        raise ValueError(f"answer {wanted.answer} goes with the protocol generate; {wanted.protocol} has its own")
    wanted = dataclasses.replace(wanted, source=wanted.data.settle(wanted.source), options=_settled(wanted))
    samples = _samples(wanted)
    weights = weights_of(wanted.checkpoint)
    identity = _identity(wanted, samples, one_hash(weights))
    claim(wanted.output, identity)
    samples = samples[: wanted.limit]
    run = _Run(wanted, identity, {"weights": weights, "lisa_ros": __version__}, load)
    with ItemLog(wanted.output / "items.jsonl") as log:
        whole = True
        try:
            if wanted.protocol == "quantization":
                run.compare(samples, log)
            else:
                run.judge(samples, log)
        except KeyboardInterrupt:
            whole = False
            print("\nstopped; the same command goes on from here", file=sys.stderr)
        run.report(log, whole)
    return 0 if whole else 130


class _Run:
    """One run: the passes that its protocol has, and their report."""

    def __init__(self, wanted: Evaluation, identity: dict[str, Any], notes: dict[str, Any], load: Load) -> None:
        self._wanted, self._identity, self._notes, self._load = wanted, identity, notes, load
        self._passes: list[tuple[str, list[Sample]]] = []

    def judge(self, samples: list[Sample], log: ItemLog) -> None:
        """One pass, judged by the data set's truth."""
        self._pass(samples, log, self._wanted.options)

    def compare(self, samples: list[Sample], log: ItemLog) -> None:
        """A pass without quantization, whose answers are the truth that each quantized pass is judged by."""
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
        if not unfinished(samples, log, variant):
            return
        _give_memory_back()
        segmenter = self._load(self._wanted.checkpoint, options)
        print(title or variant or self._wanted.protocol, segmenter.name, sep=": ", file=sys.stderr)
        evaluate(samples, segmenter, self._asking(segmenter), log, rule=self._wanted.rule, variant=variant)

    def _asking(self, segmenter: Segmenter) -> Asking:
        wanted = self._wanted
        if published := _PUBLISHED.get(wanted.protocol):
            return published(segmenter)
        return generate(segmenter, wanted.asked_as, wanted.max_new_tokens, wanted.answer, wanted.references)

    def report(self, log: ItemLog, whole: bool) -> None:
        """Prints the table and writes results.json and report.html."""
        keys = (key for variant, samples in self._passes for key in keys_of(samples, variant))
        items = in_order(log.items, keys)
        data = self._wanted.data
        rows = rows_of(items, explicit_absence=data.explicit_absence, by_round=data.scored_by_round)
        judged_scores = self._wanted.protocol == "generate" and self._wanted.judges_scores
        scores = reliability(items) if judged_scores else None
        self._write(items, rows, scores, whole)
        judged = [item for item in items if item.failed is None]
        failed = [item for item in items if item.failed is not None]
        if failed:
            print(f"{len(failed)} of {len(items)} failed; the first: {failed[0].failed}", file=sys.stderr)
        if rows:
            print(markdown(rows))
        if scores:
            print(scores.line())
            write_text(self._wanted.output / "scores.svg", diagram(scores) + "\n")
        print(f"{self._wanted.output / 'results.json'}\n{self._wanted.output / 'report.html'}")
        if whole and not judged:
            why = items[0].failed if items else "there are none"
            raise DataError(f"none of the questions could be judged; the first: {why}")

    def _write(self, items: Sequence[Item], rows: Sequence[Row], scores: Reliability | None, whole: bool) -> None:
        wanted = self._wanted
        settings = {
            **self._identity,
            **self._notes,
            "data": None if wanted.source.folder is None else str(wanted.source.folder),
            "limit": wanted.limit,
            "complete": whole,
        }
        told = {
            **settings,
            "rows": rows,
            "scores": scores.told() if scores else None,
            "items": [item.told() for item in items],
        }
        write_text(wanted.output / "results.json", json.dumps(told, indent=1) + "\n")
        about = Page(
            title=f"{wanted.dataset} {wanted.source.split}: {wanted.protocol}",
            settings=settings,
            rows=rows,
            items=items,
            samples={(variant, sample.name): sample for variant, samples in self._passes for sample in samples},
            truth_title="16 bit" if wanted.protocol == "quantization" else "truth",
            whole=whole,
            scores=scores,
        )
        write_text(wanted.output / "report.html", page(about, wanted.pictures))


def _settled(wanted: Evaluation) -> LoadOptions:
    """The options with what a quantization of "auto" means for the checkpoint."""
    from lisa_ros.models.common.configuration import settled_quantization

    if wanted.protocol == "quantization":
        # The judge's answers are the checkpoint's without quantization; a folder that has no such weights is refused.
        settled_quantization(wanted.checkpoint, "none")
    settled = settled_quantization(wanted.checkpoint, wanted.options.quantization)
    # What a round refers to is the data set's to say, whatever its words are.
    return dataclasses.replace(wanted.options, quantization=settled, explicit_references=True)


def _samples(wanted: Evaluation) -> list[Sample]:
    samples = wanted.data.read(wanted.source)
    if wanted.data.first_text and not wanted.all_texts:
        samples = [dataclasses.replace(sample, rounds=sample.rounds[:1]) for sample in samples]
    if not samples:
        raise DataError(f"{wanted.dataset} has nothing in split {wanted.source.split!r}")
    return samples


def _identity(wanted: Evaluation, samples: Sequence[Sample], weights: str) -> dict[str, Any]:
    """What must be the same for two runs to be one, by the names that results.json has for it."""
    generated = wanted.protocol not in _PUBLISHED
    models = ("none", *wanted.variants) if wanted.variants else (wanted.options.quantization,)
    return {
        "protocol": wanted.protocol,
        "dataset": wanted.dataset,
        "split": wanted.source.split,
        "partition": wanted.source.partition,
        "questions": sum(len(sample.rounds) for sample in samples),
        "questions_sha256": hash_of_questions(samples),
        "checkpoint": wanted.checkpoint.resolve().name,
        "weights_sha256": weights,
        "vision_tower": wanted.options.vision_tower,
        "template": wanted.options.template,
        "quantization": list(models) if wanted.variants else models[0],
        "computed_in": {model: _computed_in(wanted.options, model) for model in models},
        "phrasing": wanted.asked_as,
        "mask": wanted.rule if generated else None,
        "references": wanted.references if generated else None,
        "fusion_scales": wanted.options.fusion_scales,
        "max_new_tokens": wanted.max_new_tokens if generated else None,
        **(_of_answers(wanted) if generated else {}),
    }


def _of_answers(wanted: Evaluation) -> dict[str, str]:
    """What not every run has is not named where it is not there, so that folders of earlier versions go on."""
    named: dict[str, str] = {"answer": wanted.answer} if wanted.answer != "full" else {}
    calibration = wanted.checkpoint / SCORE_FILE
    if wanted.judges_scores and calibration.is_file():
        named["score_sha256"] = hashlib.sha256(calibration.read_bytes()).hexdigest()
    return named


def _computed_in(options: LoadOptions, quantization: str) -> str:
    """For example "float32 on cpu": what "auto" means on this machine."""
    from lisa_ros.models.common.devices import choose_device, choose_dtype

    options = dataclasses.replace(options, quantization=quantization)
    options.check()
    device = choose_device(options.device)
    return f"{str(choose_dtype(options, device)).removeprefix('torch.')} on {device.type}"


def _give_memory_back() -> None:
    """What the model before took, for the next one."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _answered(sample: Sample, reference: ItemLog) -> Sample:
    """The sample with what another model answered as its truth."""
    items = [reference.items.get(("", sample.name, number)) for number in range(1, len(sample.rounds) + 1)]
    rounds = (
        dataclasses.replace(asked, truth=partial(_found, item), answer=item.answer if item else None)
        for asked, item in zip(sample.rounds, items, strict=True)
    )
    return dataclasses.replace(sample, rounds=tuple(rounds))


def _found(item: Item | None) -> Truth:
    if item is None or item.failed is not None:
        raise DataError(f"the 16-bit model's answer could not be had: {item.failed if item else 'it is missing'}")
    return decode_mask(item.found, item.size).astype("uint8")
