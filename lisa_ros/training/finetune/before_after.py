# SPDX-License-Identifier: Apache-2.0
"""Evaluation before and after a fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Lisa, load_lisa
from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.training.finetune.fingerprints import one_fingerprint, samples_fingerprint
from lisa_ros.training.finetune.general import Figures, described, score_general
from lisa_ros.training.finetune.inputs import Sets
from lisa_ros.training.loop.states import Settings
from lisa_ros.training.stages.held_out import score_held_out

Report = Callable[[str], None]


@dataclass(frozen=True)
class BeforeAfter:
    """Evaluates before and after the training, on the validation images and on the general check.

    Attributes:
        work: folder that keeps the results from before, for a resumed call.
        sets: the data.
        base: identifies the checkpoint and how it is computed.
        report: receives lines for people.
    """

    work: Path
    sets: Sets
    base: Settings
    report: Report

    def before(self, lisa: Lisa) -> dict[str, Figures]:
        """Results of the checkpoint before the training."""
        found: dict[str, Figures] = {}
        if self.sets.held_out:
            key = {**self.base, "held_out": one_fingerprint(samples_fingerprint(self.sets.held_out))}
            found["held_out"] = self._stored("before.json", key, lambda: self._held_out(lisa))
            self._report_figures("before", "validation", found["held_out"])
        if self.sets.check is not None:
            key = {**self.base, "check": one_fingerprint(samples_fingerprint(self.sets.check.samples))}
            found["check"] = self._stored("check_before.json", key, lambda: self._general(lisa, "check_before"))
            self._report_figures("before", self.sets.check.name, found["check"])
        return found

    def after(self, folder: Path, load: LoadOptions) -> dict[str, Figures]:
        """Results of the folder that was written."""
        found: dict[str, Figures] = {}
        if not self.sets.held_out and self.sets.check is None:
            return found
        lisa = load_lisa(folder, load)
        lisa.encode_objects()
        if self.sets.held_out:
            found["held_out"] = self._held_out(lisa)
            self._report_figures("after", "validation", found["held_out"])
        if self.sets.check is not None:
            (self.work / "check_after.jsonl").unlink(missing_ok=True)  # of other weights
            found["check"] = self._general(lisa, "check_after")
            self._report_figures("after", self.sets.check.name, found["check"])
        return found

    def _held_out(self, lisa: Lisa) -> Figures:
        found = score_held_out(LisaSegmenter(lisa), self.sets.held_out)
        return {"giou": found.giou, "ciou": found.ciou}

    def _general(self, lisa: Lisa, name: str) -> Figures:
        assert self.sets.check is not None
        return score_general(LisaSegmenter(lisa), self.sets.check, self.work / f"{name}.jsonl", name.replace("_", " "))

    def _stored(self, name: str, key: Settings, compute: Callable[[], Figures]) -> Figures:
        """Results of an earlier call with the same key; computed and stored otherwise."""
        file = self.work / name
        stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if stored.get("of") != key:
            file.with_suffix(".jsonl").unlink(missing_ok=True)
            stored = {"of": dict(key), "figures": compute()}
            write_json(file, stored)
        figures: Figures = stored["figures"]
        return figures

    def _report_figures(self, when: str, name: str, figures: Figures) -> None:
        cumulative = f", cIoU {figures['ciou']:.3f}" if "ciou" in figures else ""
        self.report(f"{when}, on {name}: {described(figures)}{cumulative}")
