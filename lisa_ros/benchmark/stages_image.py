# SPDX-License-Identifier: Apache-2.0
"""stages.png of `lisa benchmark`: which stage of a command takes how much of its time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lisa_ros.segmentation.files.image_files import write_image
from lisa_ros.segmentation.lettering import colour_of, font_for

STAGES = ("region of the objects", "CLIP", "SAM's encoder", "prompt (LLaMA)", "mask decoder")
"""Most models have no such region."""
OTHER, TEXT = "first tokens and other", "text after the mask"
WIDTH, ROW, LEFT, TOP = 900, 40, 230, 60
"""Pixels: of the image, of a row, left of the bars, and above them."""


def stages_of(medians: Mapping[str, float]) -> dict[str, float]:
    """The stages of a first command about a new frame, in their order: name -> milliseconds.

    OTHER is the time to the first mask without the stages before it. It is 0 where SAM's encoder runs beside CLIP and
    LLaMA, as on a GPU, and the stages take longer one by one than together.
    """
    found = {name: medians[f"{name}, ms"] for name in STAGES if f"{name}, ms" in medians}
    first, whole = medians["first mask, ms"], medians["whole answer, ms"]
    return {**found, OTHER: max(0.0, first - sum(found.values())), TEXT: max(0.0, whole - first)}


def write_stages(medians: Mapping[str, float], title: str, file: Path) -> None:
    """Draws stages_of as a bar chart.

    Args:
        medians: figures by name.
        title: the model and the device.
        file: the PNG to write.

    Raises:
        OSError: it cannot be written.
    """
    stages = stages_of(medians)
    canvas = Image.new("RGB", (WIDTH, TOP + ROW * len(stages) + 20), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((10, 10), title, fill="black", font=font_for(title, 18))
    total, scale = sum(stages.values()), (WIDTH - LEFT - 170) / max(stages.values())
    for number, (name, value) in enumerate(stages.items(), start=1):
        top = TOP + ROW * (number - 1)
        right = LEFT + max(1, round(scale * value))
        draw.rectangle([LEFT, top + 4, right, top + ROW - 4], fill=colour_of(number))
        draw.text((LEFT - 10, top + ROW / 2), name, fill="black", font=font_for(name, 16), anchor="rm")
        label = f"{value:,.3g} ms, {value / total:.0%}" if value < 1000 else f"{value:,.0f} ms, {value / total:.0%}"
        draw.text((right + 8, top + ROW / 2), label, fill="black", font=font_for(label, 16), anchor="lm")
    write_image(file, np.asarray(canvas))
