# SPDX-License-Identifier: Apache-2.0
"""A changed annotation changes its samples' fingerprints, whatever the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_datasets import HEIGHT, WIDTH, write_image

from lisa_ros.datasets.own.reading import read_folder
from lisa_ros.training.finetune.fingerprints import samples_fingerprint

CORNERS = [[5, 5], [25, 5], [25, 25]]


def coco(corners: list[list[int]]) -> dict[str, Any]:
    flat = [float(number) for corner in corners for number in corner]
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [flat]}],
        "categories": [{"id": 1, "name": "mug"}],
    }


def labelme(corners: list[list[int]]) -> dict[str, Any]:
    return {"shapes": [{"label": "mug", "shape_type": "polygon", "points": corners}], "imagePath": "a.png"}


@pytest.mark.parametrize(("make", "name"), [(coco, "instances.json"), (labelme, "a.json")])
def test_a_changed_annotation_is_noticed(tmp_path: Path, make: Any, name: str) -> None:
    write_image(tmp_path / "a.png")

    def fingerprint(corners: list[list[int]]) -> dict[str, str]:
        (tmp_path / name).write_text(json.dumps(make(corners)))
        return samples_fingerprint(read_folder(tmp_path))

    before = fingerprint(CORNERS)
    assert list(before) == ["a.png"] and before == fingerprint(CORNERS)
    assert before != fingerprint([*CORNERS, [5, 25]])
