# SPDX-License-Identifier: Apache-2.0
"""A comparison of runs, printed and written as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.catalogue import DATASETS, Source
from lisa_ros.datasets.loading import draw_truth, load_image
from lisa_ros.datasets.masks import decode_mask
from lisa_ros.datasets.samples import Sample, Truth
from lisa_ros.evaluation.comparison import table
from lisa_ros.evaluation.comparison.bootstrap import DRAWS, LEVEL, Interval
from lisa_ros.evaluation.comparison.runs import FinishedRun, read_runs
from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.tables import aligned, as_csv
from lisa_ros.segmentation.files.atomic_files import write_json, write_text
from lisa_ros.segmentation.files.html_page import escape, figure, page
from lisa_ros.segmentation.files.html_page import table as html_table
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.segmentation.overlay import draw_overlay


def compare_runs(folders: Sequence[Path], output: Path, images: int) -> int:
    """Compares runs; prints the table and writes comparison.json, comparison.csv and comparison.html.

    Args:
        folders: outputs of `lisa evaluate`.
        output: the folder to write.
        images: how many of the questions on which the runs differ most the page shows.

    Returns:
        the exit status, 0.

    Raises:
        OutputError: a folder cannot be used, or the runs do not compare.
    """
    make_output_folder(output)
    runs = read_runs(folders)
    compared = table.compare(runs)
    cells = table.cells(compared, runs)
    differences = table.differences(runs)
    write_json(
        output / "comparison.json",
        {
            "units": table.UNITS,
            "level": LEVEL,
            "draws": DRAWS,
            "runs": {run.label: {"folder": str(run.folder), **run.settings} for run in runs},
            "numbers": table.flat(compared),
            "giou_less_first": {label: vars(found) if found else None for label, found in differences},
        },
    )
    write_text(output / "comparison.csv", as_csv(table.flat(compared), table.UNITS))
    write_text(output / "comparison.html", page("Runs compared", _body(runs, cells, differences, images)))
    print(aligned(cells))
    print("\n".join(_sentence(label, runs[0].label, found) for label, found in differences))
    print(f"[...]: {LEVEL:.0%} confidence interval, bootstrap over images or dialogues ({DRAWS} draws)")
    print(f"{output}: comparison.json, comparison.csv, comparison.html")
    return 0


def _sentence(label: str, first: str, found: Interval | None) -> str:
    if found is None:
        return f"{label} and {first} have no question in common"
    verdict = "significant" if found.excludes_zero else "not significant"
    return (
        f"gIoU of {label} minus {first}: {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}], {verdict} "
        f"({found.images} images or dialogues of both)"
    )


def _body(
    runs: Sequence[FinishedRun],
    cells: Sequence[Sequence[str]],
    differences: Sequence[tuple[str, Interval | None]],
    images: int,
) -> Iterator[str]:
    for run in runs:
        if not run.settings.get("complete", True):
            yield f'<p class="warning">{escape(run.label)} is not complete: {escape(run.folder)}</p>'
    yield html_table(cells)
    yield "".join(f"<p>{escape(_sentence(label, runs[0].label, found))}</p>" for label, found in differences)
    yield f"<p class=note>[...]: {LEVEL:.0%} confidence interval, bootstrap over images or dialogues.</p>"
    settings = [["", *(run.label for run in runs)]]
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in ("weights", "scores", "units"))
    settings += [[name, *(str(run.settings.get(name, "-")) for run in runs)] for name in names]
    yield f"<details><summary>Settings</summary>{html_table(settings)}</details>"
    chosen = most_different(runs, images)
    yield f"<h2>Questions on which the runs differ most</h2><p class=note>{len(chosen)} shown.</p>"
    samples = _samples(runs[0]) if chosen else {}
    yield from (_article(items, runs, samples) for items in chosen)


def _samples(run: FinishedRun) -> dict[str, Sample]:
    """The run's samples by name, for images and truths; empty where the data set is not there any more."""
    settings = run.settings
    try:
        folder, images = (Path(one) if one else None for one in (settings.get("data"), settings.get("images_folder")))
        source = Source(folder, settings["split"], settings["partition"], images, settings["images"])
        return {sample.name: sample for sample in DATASETS[settings["dataset"]].read(source)}
    except (ValueError, KeyError, OSError):
        return {}


def most_different(runs: Sequence[FinishedRun], count: int) -> list[list[Item]]:
    """Questions that all runs scored, those with the largest range of IoU first: an item of each run."""
    of_runs = [{item.key: item for item in run.items if item.failed is None} for run in runs]
    shared = [key for key in of_runs[0] if all(key in items for items in of_runs)]
    groups = [[items[key] for items in of_runs] for key in shared]
    ranges = {id(group): max(one.iou for one in group) - min(one.iou for one in group) for group in groups}
    differing = [group for group in groups if ranges[id(group)] > 0]
    return sorted(differing, key=lambda group: -ranges[id(group)])[:count]


def _article(items: Sequence[Item], runs: Sequence[FinishedRun], samples: Mapping[str, Sample]) -> str:
    first = items[0]
    parts = [f"<article><p><b>{escape(first.sample)}, round {first.round}:</b> {escape(first.asked)}</p>"]
    image, truth = _image_and_truth(first, samples.get(first.sample))
    if truth is not None:
        parts.append(figure(draw_truth(image, truth), "truth"))
    for item, run in zip(items, runs, strict=True):
        caption = f"{run.label}: IoU {item.iou:.3f}, {item.answer}"
        parts.append(figure(draw_overlay(image, [decode_mask(item.found, item.size)]), caption))
    return "".join([*parts, "</article>"])


def _image_and_truth(item: Item, sample: Sample | None) -> tuple[NDArray[np.uint8], Truth | None]:
    """The image, and the truth where the data set has it; grey where the image is gone or has changed."""
    grey = np.full((*item.size, 3), 128, dtype=np.uint8)
    if sample is None or len(sample.rounds) < item.round:
        return grey, None
    try:
        image, truth = load_image(sample.image), sample.rounds[item.round - 1].truth()
    except (ValueError, OSError):
        return grey, None
    return (image, truth) if image.shape[:2] == truth.shape == item.size else (grey, None)
