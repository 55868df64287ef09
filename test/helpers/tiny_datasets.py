# SPDX-License-Identifier: Apache-2.0
"""Small data sets in the published formats, written to disk as their authors laid them out."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64
RED, BLUE = (230, 20, 20), (20, 20, 230)

RED_BOX = (8, 8, 23, 31)
BLUE_BOX = (40, 16, 55, 39)
"""x, y of the first and the last pixel: the squares in every image."""


def image() -> NDArray[np.uint8]:
    """RGB: a red and a blue square on grey."""
    pixels = np.full((HEIGHT, WIDTH, 3), 120, dtype=np.uint8)
    for (x, y, u, v), colour in ((RED_BOX, RED), (BLUE_BOX, BLUE)):
        pixels[y : v + 1, x : u + 1] = colour
    return pixels


def write_image(file: Path, pixels: NDArray[np.uint8] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), cv2.cvtColor(image() if pixels is None else pixels, cv2.COLOR_RGB2BGR))
    return file


def square(box: tuple[int, int, int, int]) -> list[list[float]]:
    """LabelMe's points of a box; fractions are to be cut off."""
    x, y, u, v = box
    return [[x + 0.4, y + 0.9], [u, y], [u, v], [x, v]]


def box_mask(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    for x, y, u, v in boxes:
        mask[y : v + 1, x : u + 1] = True
    return mask


def shape(label: str, box: tuple[int, int, int, int]) -> dict[str, Any]:
    return {"label": label, "points": square(box)}


def write_reason_seg(folder: Path, names: dict[str, dict[str, Any] | bytes | None]) -> Path:
    """A split's folder; a name's JSON is an object, raw bytes, or left out."""
    for name, said in names.items():
        write_image(folder / f"{name}.png").rename(folder / f"{name}.jpg")
        if said is not None:
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            (folder / f"{name}.json").write_bytes(data)
    return folder


def reason(*texts: str, is_sentence: bool = True, shapes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "text": list(texts),
        "is_sentence": is_sentence,
        "shapes": [shape("target", RED_BOX)] if shapes is None else shapes,
    }


def polygon(box: tuple[int, int, int, int]) -> list[int]:
    """COCO's outline of a box: the right and lower edges lie outside the last pixels."""
    x, y, u, v = box
    return [x, y, u + 1, y, u + 1, v + 1, x, v + 1]


def write_instances(file: Path, images: int = 2) -> Path:
    """Two objects in each image: 10 i + 1 is the red square, 10 i + 2 the blue one (a plain run-length code)."""
    annotations = []
    for i in range(1, images + 1):
        blue = np.asfortranarray(box_mask(BLUE_BOX)).ravel(order="F").astype(int)
        edges = np.flatnonzero(np.diff(blue)) + 1
        runs = np.diff([0, *edges, len(blue)]).tolist()
        annotations += [
            {"id": 10 * i + 1, "image_id": i, "iscrowd": 0, "segmentation": [polygon(RED_BOX)]},
            {
                "id": 10 * i + 2,
                "image_id": i,
                "iscrowd": 1,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs},
            },
        ]
    said = {
        "images": [coco_image(i) for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "square"}],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(said))
    return file


def coco_image(number: int) -> dict[str, Any]:
    return {"id": number, "file_name": f"COCO_train2014_{number:012d}.png", "height": HEIGHT, "width": WIDTH}


def reference(number: int, annotation: Any, *texts: str, split: str = "val", image: int = 1) -> dict[str, Any]:
    return {
        "ref_id": number,
        "ann_id": annotation,
        "image_id": image,
        "category_id": 1,
        "split": split,
        "sentences": [
            {"sent": text, "sent_id": 100 * number + i, "tokens": text.split()} for i, text in enumerate(texts)
        ],
    }


def write_refer(folder: Path, references: list[dict[str, Any]], name: str = "refcoco", partition: str = "unc") -> Path:
    write_instances(folder / name / "instances.json")
    (folder / name / f"refs({partition}).p").write_bytes(pickle.dumps(references, protocol=2))
    write_coco_images(folder)
    return folder


def write_grefer(folder: Path, references: list[dict[str, Any]]) -> Path:
    write_instances(folder / "grefcoco" / "instances.json")
    (folder / "grefcoco" / "grefs(unc).json").write_text(json.dumps(references))
    write_coco_images(folder)
    return folder


def write_coco_images(folder: Path, place: str = "images/mscoco/images/train2014") -> None:
    for i in (1, 2):
        write_image(folder / place / coco_image(i)["file_name"])


def write_mr_refcoco(folder: Path, dialogues: list[Any], name: str = "mr_refcoco_val") -> Path:
    write_instances(folder / "annotations_folder" / "refcoco" / "instances.json")
    write_coco_images(folder, "images_folder/coco/train2014")
    home = folder / "conversations_folder" / "all_data_mix_val"
    home.mkdir(parents=True, exist_ok=True)
    (home / f"{name}.json").write_text(json.dumps(dialogues))
    return folder


def said(*turns: str) -> dict[str, Any]:
    """A dialogue; human and model take turns."""
    speakers = ("human", "gpt")
    return {
        "task": "segmentation",
        "base": None,
        "conversations": [{"from": speakers[i % 2], "value": turn} for i, turn in enumerate(turns)],
    }
