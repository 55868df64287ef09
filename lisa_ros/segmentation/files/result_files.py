# SPDX-License-Identifier: Apache-2.0
"""Answers written as files: result.json, masks and overlays. docs/result_json.md describes the format."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.answers import (
    AnswerKind,
    Event,
    Finished,
    Mask,
    MaskFound,
    ObjectMask,
    Reference,
    checked_events,
)
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.image_files import write_image
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.masks import bounding_box, centroid_pixel
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.segmentation.turns import Turn, turn_of

FORMAT = 1
"""Of result.json; a field that changes its meaning raises it, a new field does not."""

_WRITTEN = re.compile(r"result\.json|turn\d+_(mask\d+(_refined)?|overlay)\.png")
"""Names of the files of a run."""


@dataclass(frozen=True)
class Origin:
    """What answered, and about which image; result.json has these fields by these names.

    Attributes:
        image_file: the image's path; empty: it came from elsewhere.
        model: the model's title, such as "LISA" or "SAM 3"; empty: not known.
        checkpoint: the folder.
        precision: fp32, bf16 or fp16.
        quantization: of the language model's weights: none, 8bit or 4bit.
        device: cpu or cuda.
        lisa_ros: the package's version.
    """

    image_file: str = ""
    model: str = ""
    checkpoint: str = ""
    precision: str = ""
    quantization: str = ""
    device: str = ""
    lisa_ros: str = ""


def segment_image(
    segmenter: Segmenter,
    image: NDArray[np.uint8],
    texts: Sequence[str],
    output: Path,
    max_new_tokens: int = 512,
    answer: AnswerKind = "full",
    references: Mapping[int, Sequence[Reference]] | None = None,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Gives the commands of one dialogue about an image, and writes the answers as files.

    Args:
        segmenter: a loaded model.
        image: RGB uint8 (H, W, 3).
        texts: the commands, in order.
        output: gets result.json and, counted from 1, turn<i>_mask<j>.png (mono8, 0 or 255), turn<i>_mask<j>_refined.png
            where there is one, and turn<i>_overlay.png. Files of these names from an earlier run are deleted once
            all commands are answered.
        max_new_tokens: maximum length of an answer, tokens.
        answer: "mask_only": one mask for each command, and no text.
        references: index of a text, from 0 -> what it refers to; see Session.segment.
        origin: fields of result.json about model and image.

    Returns:
        what result.json holds, see docs/result_json.md.

    Raises:
        CommandError: a command that the model cannot answer.
        OutputError: the output folder cannot be used.
    """
    make_output_folder(output)
    encoded = segmenter.encode(image)
    turns: list[Turn] = []
    more: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        session, meant = segmenter.session(encoded, turns), (references or {}).get(index, ())
        events = session.segment(text, meant, max_new_tokens=max_new_tokens, answer=answer)
        finished, timing_ms = _timed(checked_events(events, image.shape[:2]))
        turns.append(turn_of(text, finished, index + 1))
        answered = {name: said for name in ("model", "note") if (said := getattr(finished, name))}
        more.append({**answered, "timing_ms": timing_ms})
    delete_earlier_run(output)  # not before all commands are answered: one that is refused must not cost old results
    written = [{**_write_turn(image, turn, output), **said} for turn, said in zip(turns, more, strict=True)]
    result = {**_described(segmenter, image, origin or Origin()), "turns": written}
    write_json(output / "result.json", result)
    return result


def delete_earlier_run(output: Path) -> None:
    """Deletes the files that an earlier run wrote into a folder, so that none is taken for one of the next run."""
    for file in output.iterdir():
        if _WRITTEN.fullmatch(file.name) and file.is_file():
            file.unlink()


def _described(segmenter: Segmenter, image: NDArray[np.uint8], origin: Origin) -> dict[str, Any]:
    height, width = image.shape[:2]
    fields = asdict(origin)
    file = fields.pop("image_file")
    return {
        "format": FORMAT,
        "segmenter": segmenter.name,
        **fields,
        "image": {"file": file, "width": width, "height": height},
    }


def _write_turn(image: NDArray[np.uint8], turn: Turn, output: Path) -> dict[str, Any]:
    name = f"turn{turn.number}"
    masks = [_write_object(found, output, f"{name}_mask{j}") for j, found in enumerate(turn.objects, start=1)]
    explanation = explanation_of(turn.answer, [found.span for found in turn.objects])
    masks_drawn, labels = [found.mask for found in turn.objects], [found.phrase for found in turn.objects]
    overlay = draw_overlay(image, masks_drawn, f"{turn.command}\n{explanation}", labels)
    write_image(output / f"{name}_overlay.png", overlay)
    return {
        "text": turn.command,
        "answer": turn.answer,
        "explanation": explanation,
        "references": list(turn.references),
        "masks": masks,
        "overlay": f"{name}_overlay.png",
    }


def _timed(events: Iterator[Event]) -> tuple[Finished, dict[str, float | None]]:
    """The answer, and milliseconds from the command to its first mask and to its end."""
    began = time.perf_counter()
    first_mask: float | None = None
    for event in events:
        elapsed_ms = round(1000 * (time.perf_counter() - began), 1)
        if isinstance(event, MaskFound) and first_mask is None:
            first_mask = elapsed_ms
        if isinstance(event, Finished):
            return event, {"first_mask": first_mask, "total": elapsed_ms}
    raise RuntimeError("the model's events ended without Finished")


def _write_object(found: ObjectMask, output: Path, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        **_write_mask(found.mask, output, f"{name}.png"),
        "score": None if found.score is None else round(found.score, 4),
        "score_calibrated": found.score is not None and found.score_calibrated,
    }
    described |= {"box": [round(edge, 2) for edge in found.box]} if found.box is not None else {}
    described |= {"phrase": found.phrase} if found.phrase else {}
    described |= {"attributes": found.attributes} if found.attributes else {}
    if found.refined is not None:
        described["refined"] = _write_mask(found.refined, output, f"{name}_refined.png")
    return described


def _write_mask(mask: Mask, output: Path, name: str) -> dict[str, Any]:
    write_image(output / name, mask.astype(np.uint8) * np.uint8(255))
    pixels = int(mask.sum())
    return {
        "file": name,
        "pixels": pixels,
        "bbox": list(bounding_box(mask)),
        "centroid": [round(one, 2) for one in centroid_pixel(mask)] if pixels else None,
    }


def schema() -> dict[str, Any]:
    """The JSON schema of result.json."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "result_schema.json").read_bytes())
    return found
