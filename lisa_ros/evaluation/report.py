# SPDX-License-Identifier: Apache-2.0
"""The report of a run: a table on the terminal, results.json, results.csv, items.csv, report.html and scores.svg."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_ros.datasets.catalogue import DataSet
from lisa_ros.datasets.loading import draw_truth, load_image
from lisa_ros.datasets.masks import decode_mask
from lisa_ros.datasets.samples import Sample
from lisa_ros.evaluation import items as item_fields
from lisa_ros.evaluation import tables
from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.reliability import Reliability, diagram, limit_rows, reliability
from lisa_ros.evaluation.tables import Row, as_csv, cells_of, markdown, rows_of
from lisa_ros.segmentation.files.atomic_files import write_text
from lisa_ros.segmentation.files.html_page import escape, figure, page, table
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.segmentation.text import score_text

_MOST_FAILURES = 200


@dataclass(frozen=True)
class RunReport:
    """The content of a run's report.

    Attributes:
        folder: where the files go.
        title: heading of the page.
        settings: which run it is, by name.
        items: all items, in the data set's order.
        data: the data set.
        samples: (variant, sample's name) -> the sample, for images and truths.
        truth_title: caption of the second image.
        notes: sentences above the table, such as that the run is partial.
        reports_score_quality: whether the quality of the masks' scores is reported.
    """

    folder: Path
    title: str
    settings: Mapping[str, Any]
    items: Sequence[Item]
    data: DataSet
    samples: Mapping[tuple[str, str], Sample]
    truth_title: str = "truth"
    notes: Sequence[str] = ()
    reports_score_quality: bool = False

    @functools.cached_property
    def has_several_models(self) -> bool:
        """Whether not all questions were answered by the same model."""
        return len({item.model for item in self.items if item.model}) > 1

    @property
    def rows(self) -> list[Row]:
        """The table."""
        return rows_of(self.items, explicit_absence=self.data.explicit_absence, by_round=self.data.scored_by_round)


def write_report(report: RunReport, images: int) -> None:
    """Prints the table, and writes the files.

    Args:
        report: its content.
        images: how many of the worst questions report.html shows.

    Raises:
        OSError: a file cannot be written.
    """
    rows = report.rows
    scores = reliability(report.items) if report.reports_score_quality else None
    folder = report.folder
    write_text(folder / "results.json", json.dumps(_results(report, rows, scores), indent=1) + "\n")
    write_text(folder / "results.csv", as_csv(rows, tables.UNITS))
    write_text(folder / "items.csv", as_csv([_flat(item) for item in report.items], item_fields.UNITS))
    write_text(folder / "report.html", report_page(report, rows, scores, images))
    for note in report.notes:
        print(note)
    if rows:
        print(markdown(rows))
    if scores:
        print(scores.line())
        write_text(folder / "scores.svg", diagram(scores) + "\n")
    print(f"{folder}: results.json, results.csv, items.csv, report.html")


def _results(report: RunReport, rows: Sequence[Row], scores: Reliability | None) -> dict[str, Any]:
    return {
        **report.settings,
        "units": {"rows": tables.UNITS, "items": item_fields.UNITS},
        "rows": rows,
        "scores": scores.as_json() if scores else None,
        "items": [item.as_json() for item in report.items],
    }


def _flat(item: Item) -> dict[str, Any]:
    """An item for CSV: one value in each column."""
    fields = item.as_json()
    evidence = fields.pop("evidence") or {}
    return {**fields, "tags": "; ".join(item.tags), "size": " ".join(map(str, item.size)), **evidence}


def report_page(report: RunReport, rows: Sequence[Row], scores: Reliability | None, images: int) -> str:
    """The page; the worst items are shown with image, truth and mask."""
    return page(report.title, _body(report, rows, scores, images))


def _body(report: RunReport, rows: Sequence[Row], scores: Reliability | None, images: int) -> Iterator[str]:
    scored = sorted((item for item in report.items if item.failed is None), key=lambda item: item.iou)
    failed = [item for item in report.items if item.failed is not None]
    yield from (f'<p class="warning">{escape(note)}</p>' for note in report.notes)
    yield table(cells_of(rows))
    yield _scores(scores)
    yield _settings(report.settings)
    yield _failures(failed)
    shown = scored[:images]
    yield f"<h2>Questions, worst first</h2><p class=note>{len(shown)} of {len(scored)} that were scored.</p>"
    yield from (_article(item, report) for item in shown)


def _scores(found: Reliability | None) -> str:
    if found is None:
        return ""
    return f"<h2>Scores</h2><p>{escape(found.line())}.</p>{diagram(found)}{table(limit_rows(found.limits))}"


def _settings(settings: Mapping[str, Any]) -> str:
    lines = "".join(f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in settings.items())
    return f"<details><summary>Settings</summary><table>{lines}</table></details>"


def _failures(failed: Sequence[Item]) -> str:
    if not failed:
        return ""
    lines = [["image", "round", "question", "reason"]]
    lines += [[one.sample, str(one.round), one.text, str(one.failed)] for one in failed[:_MOST_FAILURES]]
    more = f"<p class=note>and {len(failed) - _MOST_FAILURES} more</p>" if len(failed) > _MOST_FAILURES else ""
    return f"<h2>{len(failed)} failed</h2>{table(lines)}{more}"


def _article(item: Item, report: RunReport) -> str:
    group = f" · {item.group}" if item.group else ""
    where = f"{item.variant} " if item.variant else ""
    where += f"{item.sample}, {'turn' if item.dialogue else 'question'} {item.round}"
    score = "" if item.score is None else f" · {score_text(item.score, item.score_calibrated, 3)}"
    model = f" · {escape(item.model)}" if report.has_several_models else ""
    expected = f"<p><b>expected:</b> {escape(item.expected)}</p>" if item.expected is not None else ""
    cut = " <span class=note>(cut at its maximum length)</span>" if item.cut else ""
    return (
        f"<article><p><b>IoU {item.iou:.3f}</b> · {escape(where + group)} · {item.masks} mask(s){score}{model}</p>"
        f"<p><b>question:</b> {escape(item.asked)}</p><p><b>answer:</b> {escape(item.answer) or '(empty)'}{cut}</p>"
        f"{expected}{_images(item, report)}</article>"
    )


def _images(item: Item, report: RunReport) -> str:
    try:
        sample = report.samples[item.variant, item.sample]
        image, truth = load_image(sample.image), sample.rounds[item.round - 1].truth()
        drawn = [
            ("image", image),
            (report.truth_title, draw_truth(image, truth)),
            ("mask", draw_overlay(image, [decode_mask(item.found, item.size)])),
        ]
    except (ValueError, OSError, LookupError) as error:  # it changed since it was scored
        return f"<p class=note>No images: {escape(error)}</p>"
    return "".join(figure(shown, caption) for caption, shown in drawn)
