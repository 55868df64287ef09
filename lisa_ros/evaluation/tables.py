# SPDX-License-Identifier: Apache-2.0
"""The rows of a result table: all questions, each variant, each family of questions, each turn of the dialogues."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.metrics import Overlap, score, score_round

Row = dict[str, Any]
"""A row's label and numbers; None where a number means nothing."""

TITLES = {
    "row": "",
    "items": "questions",
    "failed": "failed",
    "giou": "gIoU",
    "ciou": "cIoU",
    "present": "present",
    "refused_present": "refused though present",
    "absent": "absent",
    "refused_absent": "absent refused",
    "said": "named rightly",
    "n_acc": "N-acc",
    "t_acc": "T-acc",
    "mean_iou": "mIoU (SegLLM)",
    "overall_iou": "oIoU (SegLLM)",
    "box_precision": "P@0.5 of boxes",
    "equal_answers": "equal answers",
}

_COUNTS = ("items", "failed", "present", "absent")
_ALWAYS = ("row", "items", "giou", "ciou")
_SHARES = ("refused_present", "refused_absent", "said", "n_acc", "t_acc", "box_precision", "equal_answers")

UNITS = {name: "questions" if name in _COUNTS else "0 to 1" for name in TITLES if name != "row"}
"""Column -> its unit."""


def rows_of(items: Sequence[Item], *, explicit_absence: bool = False, by_round: bool = False) -> list[Row]:
    """The rows of a run's table.

    Args:
        items: of one protocol, data set and model, in the order of the data set; of several variants, if it has some.
        explicit_absence: report gRefCOCO's N-acc and T-acc.
        by_round: report SegLLM's scores of each turn.

    Returns:
        a row for everything, then one for each model where several answered (`segmenter: auto`), for each group and for
        each turn of the dialogues; so for each variant.
    """
    rows = []
    for variant, chosen in _by(items, lambda item: item.variant):
        row = row_of(variant or "all", chosen)
        if explicit_absence:
            row |= {"n_acc": row["refused_absent"], "t_acc": _complement(row["refused_present"])}
        if variant:
            row["equal_answers"] = _mean(item.answer == item.expected for item in chosen if item.failed is None)
        parts = [*_models(chosen), *_groups(chosen), *_tags(chosen), *_turns(chosen, by_round)]
        rows += [row, *(part | {"row": f"{variant}, {part['row']}" if variant else part["row"]} for part in parts)]
    return rows


def _models(items: Sequence[Item]) -> list[Row]:
    models = _by((item for item in items if item.model), lambda item: item.model)
    return [row_of(f"answered by {model}", chosen) for model, chosen in models] if len(models) > 1 else []


def _groups(items: Sequence[Item]) -> list[Row]:
    groups = _by((item for item in items if item.group), lambda item: item.group)
    return [row_of(group, chosen) for group, chosen in groups]


def _tags(items: Sequence[Item]) -> list[Row]:
    tags = dict.fromkeys(tag for item in items for tag in item.tags)
    return [row_of(tag, [item for item in items if tag in item.tags]) for tag in sorted(tags)]


def _turns(items: Sequence[Item], by_round: bool) -> list[Row]:
    turns = sorted(_by((item for item in items if item.dialogue), lambda item: item.round))
    return [row_of(f"turn {turn}", chosen) | (_round_scores(chosen) if by_round else {}) for turn, chosen in turns]


def row_of(label: str, items: Sequence[Item]) -> Row:
    """The numbers of some items.

    Returns:
        items, failed: number of questions that were scored, and that failed.
        giou, ciou: as upstream computes them; None where every object is absent. Where models are
            compared, two empty masks agree.
        present, absent: how many have an object to mark, and how many have none.
        refused_present, refused_absent: the share of each in which nothing was marked.
        said: the share of the answers that contain the required text, of those that have one.
    """
    scored = [item for item in items if item.failed is None]
    present = [item for item in scored if not item.absent]
    absent = [item for item in scored if item.absent]
    images: dict[tuple[str, str], list[Overlap]] = defaultdict(list)
    for item in scored:
        images[item.variant, item.sample].append(item.overlap)
    found = score(images.values())
    has_iou = bool(present) or any(item.variant for item in scored)
    return {
        "row": label,
        "items": len(scored),
        "failed": len(items) - len(scored),
        "giou": _number(found.giou) if has_iou else None,
        "ciou": _number(found.ciou) if has_iou else None,
        "present": len(present),
        "refused_present": _mean(item.refused for item in present),
        "absent": len(absent),
        "refused_absent": _mean(item.refused for item in absent),
        "said": _mean(item.said for item in scored if item.said is not None),
    }


def cells_of(rows: Sequence[Row]) -> list[list[str]]:
    """The table as texts, titles first; columns without a number are left out."""
    columns = [key for key in TITLES if key in _ALWAYS or any(_has_number(key, row.get(key)) for row in rows)]
    return [[TITLES[key] for key in columns], *([cell(key, row.get(key)) for key in columns] for row in rows)]


def markdown(rows: Sequence[Row]) -> str:
    """The table for a terminal or a page of documentation."""
    return aligned(cells_of(rows))


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """A table of texts in Markdown, its columns aligned; the first line has the titles."""
    titles, *lines = cells
    widths = [max(len(line[i]) for line in (titles, *lines)) for i in range(len(titles))]

    def line_of(line: Sequence[str]) -> str:
        return "| " + " | ".join(one.ljust(width) for one, width in zip(line, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line_of(titles), rule, *map(line_of, lines)])


def as_csv(rows: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> str:
    """Rows as CSV; a column's title has its unit in brackets.

    Args:
        rows: each with its values by column; all columns of any row are written.
        units: column -> unit; others have none.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([f"{key} ({units[key]})" if key in units else key for key in columns])
    writer.writerows([["" if row.get(key) is None else row[key] for key in columns] for row in rows])
    return stream.getvalue()


def _round_scores(items: Sequence[Item]) -> Row:
    scored = [item for item in items if item.failed is None]
    boxes = [item.box_iou for item in scored if item.box_iou is not None]
    found = score_round([item.overlap for item in scored], boxes)
    return {
        "mean_iou": _number(found.mean_iou),
        "overall_iou": _number(found.overall_iou),
        "box_precision": _number(found.box_precision),
    }


def _by(items: Iterable[Item], key: Callable[[Item], Any]) -> list[tuple[Any, list[Item]]]:
    """Items that share a key, in the order in which the keys first occur."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())


def _mean(values: Iterable[bool]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def _complement(share: float | None) -> float | None:
    return None if share is None else 1 - share


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _has_number(key: str, value: Any) -> bool:
    return value is not None and not (key in _COUNTS and value == 0)


def cell(key: str, value: Any) -> str:
    """A number of a row for people; "-" where it means nothing."""
    if value is None:
        return "-"
    if key == "row" or key in _COUNTS:
        return str(value)
    return f"{value:.1%}" if key in _SHARES else f"{value:.4f}"
