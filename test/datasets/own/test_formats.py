# SPDX-License-Identifier: Apache-2.0
"""The formats of annotation tools: the same scene from LabelMe, COCO and mask images gives the same masks."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_masks
from tiny_datasets import BLUE_BOX, HEIGHT, RED_BOX, WIDTH, box_mask, write_image

from lisa_ros.datasets.instances import Instances
from lisa_ros.datasets.own.converting import convert_data
from lisa_ros.datasets.own.reading import format_of, read_folder
from lisa_ros.datasets.samples import IGNORE, DataError, Sample
from lisa_ros.datasets.shapes import paint, parse_shapes
from lisa_ros.segmentation.files.output_folders import OutputError

SIZE = (HEIGHT, WIDTH)
STAR = [[30, 2], [34, 12], [44, 12], [36, 18], [40, 28], [30, 22]]
Mask = NDArray[np.bool_]


def shapes() -> list[dict[str, Any]]:
    """One shape of each kind that has pixels."""
    x, y, u, v = RED_BOX
    ring = np.ones((9, 9), dtype=np.uint8) * 255
    ring[3:6, 3:6] = 0
    data = cv2.imencode(".png", ring)[1].tobytes()

    return [
        {"label": "box", "shape_type": "rectangle", "points": [[x, y], [u, v]]},
        {"label": "disc", "shape_type": "circle", "points": [[50, 36], [50, 43]]},
        {"label": "star", "shape_type": "polygon", "points": STAR},
        {"label": "ring", "shape_type": "mask", "points": [[2, 36], [10, 44]], "mask": base64.b64encode(data).decode()},
    ]


def masks() -> dict[str, Mask]:
    """Label -> its pixels."""
    return {one["label"]: paint(parse_shapes([one]), SIZE) == 1 for one in shapes()}


def write_labelme(folder: Path) -> Path:
    write_image(folder / "a.png")
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{"group_id": None, "flags": {}, "description": "", **one} for one in shapes()],
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def write_coco(folder: Path) -> Path:
    """Instances with compressed run lengths, as COCO's tools and CVAT write them."""
    write_image(folder / "images" / "a.png")
    annotations = []
    for number, mask in enumerate(masks().values(), start=1):
        code = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
        code = {"size": code["size"], "counts": code["counts"].decode()}
        annotations.append({"id": number, "image_id": 7, "category_id": number, "segmentation": code, "iscrowd": 0})
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 8, "file_name": "bare.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for number, label in enumerate(masks(), start=1)],
    }
    file = folder / "annotations" / "instances.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    return folder


def write_mask_folders(folder: Path) -> Path:
    write_image(folder / "images" / "a.png")
    for label, mask in masks().items():
        (folder / "masks" / label).mkdir(parents=True)
        cv2.imwrite(str(folder / "masks" / label / "a.png"), mask.astype(np.uint8) * 255)
    return folder


FORMATS: dict[str, Callable[[Path], Path]] = {
    "labelme": write_labelme,
    "coco": write_coco,
    "masks": write_mask_folders,
}


def check(samples: list[Sample]) -> None:
    (sample,) = samples
    assert sample.problem is None
    found = {one.text: one.truth() == 1 for one in sample.rounds}
    assert found.keys() == masks().keys()
    for label, mask in masks().items():
        assert np.array_equal(found[label], mask), label


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_masks_to_the_pixel(tmp_path: Path, name: str) -> None:
    folder = FORMATS[name](tmp_path / "source")
    assert format_of(folder) == name
    check(read_folder(folder))
    written, problems = convert_data(folder, tmp_path / "converted")
    assert (written, problems) == (1, [])
    assert format_of(tmp_path / "converted") == "reason_seg"
    check(read_folder(tmp_path / "converted"))


def test_texts_for_labels(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "source")
    texts = {"box": ["the red box", "Where is the box?"], "star": "a star"}
    (folder / "texts.json").write_text(json.dumps(texts))
    convert_data(folder, tmp_path / "converted")
    (sample,) = read_folder(tmp_path / "converted")
    assert [(one.text, one.is_sentence) for one in sample.rounds] == [
        ("the red box", False),
        ("Where is the box?", True),
        ("disc", False),
        ("a star", False),
        ("ring", False),
    ]
    (folder / "texts.json").write_text(json.dumps({"box": [1]}))
    with pytest.raises(DataError, match=r"texts\.json has \[1\] for 'box'"):
        read_folder(folder)


def test_labelme_groups_and_descriptions(tmp_path: Path) -> None:
    """A description asks for its shape and its group; a label asks for all of its shapes."""
    left, right, other = (4, 4, 9, 9), (14, 4, 19, 9), (40, 4, 49, 9)

    def rectangle(box: tuple[int, int, int, int], **more: Any) -> dict[str, Any]:
        return {"label": "mug", "shape_type": "rectangle", "points": [box[:2], box[2:]], **more}

    entries = [
        rectangle(left, group_id=1, description="the chipped mug"),
        rectangle(right, group_id=1, description=""),
        rectangle(other, group_id=None),
        rectangle((5, 5, 6, 6)) | {"label": "_background_"},
    ]
    write_image(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps({"shapes": entries, "imageHeight": HEIGHT, "imageWidth": WIDTH}))
    (sample,) = read_folder(tmp_path)
    hole = box_mask((5, 5, 6, 6))
    found = {one.text: one.truth() == 1 for one in sample.rounds}
    assert np.array_equal(found["mug"], box_mask(left, right, other) & ~hole)
    assert np.array_equal(found["the chipped mug"], box_mask(left, right) & ~hole)


def test_labelme_files_that_do_not_fit(tmp_path: Path) -> None:
    folder = write_labelme(tmp_path)
    content = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps(content | {"imageWidth": 640, "imageHeight": 480}))
    write_image(folder / "bare.png")
    (folder / "orphan.json").write_text(json.dumps(content | {"imagePath": "gone.png"}))
    write_image(folder / "images" / "b.png")
    (folder / "elsewhere.json").write_text(json.dumps(content | {"imagePath": "images\\b.png"}))
    samples = {sample.name: sample.problem for sample in read_folder(folder)}
    assert f"{folder / 'a.json'}: the shapes were drawn on an image of 640 x 480 pixels" in (samples["a.png"] or "")
    assert "no JSON file bare.json" in (samples["bare.png"] or "")
    assert "has no image" in (samples["orphan.json"] or "") and "gone.png" in (samples["orphan.json"] or "")
    assert samples["b.png"] is None


def test_coco_files_that_do_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_coco(tmp_path)
    file = folder / "annotations" / "instances.json"
    read_folder(file)
    assert "images without an annotation are left out: 1 of them" in caplog.text
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "gone.png"
    file.write_text(json.dumps(content))
    content["annotations"] += [content["annotations"][0] | {"id": 90 + i, "image_id": 77} for i in range(2)]
    file.write_text(json.dumps(content))
    (sample,) = read_folder(folder)
    assert "annotations of images that it does not list are left out: of 1 images" in caplog.text
    assert "gone.png, is in none of" in (sample.problem or "")
    content["annotations"][0]["category_id"] = 99
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="annotation 1 has image_id 7 and category_id 99; the number of an image and"):
        read_folder(folder)
    (folder / "annotations" / "val.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="several instances files; name one of them"):
        read_folder(folder)


@pytest.mark.parametrize(("entries", "number"), [("images", 7), ("annotations", 1)])
def test_coco_numbers_that_are_there_twice_are_refused(tmp_path: Path, entries: str, number: int) -> None:
    """The later would take the earlier's place, and its image would lose objects."""
    file = write_coco(tmp_path) / "annotations" / "instances.json"
    content = json.loads(file.read_text())
    content[entries].append(content[entries][0] | {"file_name": "b.png"})
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"two of the {entries} have the id {number}; each needs"):
        read_folder(file)


@pytest.mark.parametrize("empty", [[], [[900.0, 900.0, 950.0, 900.0, 950.0, 950.0]]], ids=["box alone", "outside"])
def test_a_coco_annotation_without_a_pixel_is_no_absent_object(tmp_path: Path, empty: list[Any]) -> None:
    folder = write_coco(tmp_path)
    file = folder / "annotations" / "instances.json"
    content = json.loads(file.read_text())
    content["annotations"][1]["segmentation"] = empty
    file.write_text(json.dumps(content))
    (sample,) = read_folder(folder)
    with pytest.raises(DataError, match=r"annotation 2 marks no pixel .* a box is not enough"):
        sample.rounds[1].truth()
    assert sample.rounds[0].truth().any()


def test_a_shape_outside_of_its_image_is_not_called_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_labelme(tmp_path)
    content = json.loads((folder / "a.json").read_text())
    content["shapes"] = [{"label": "box", "shape_type": "rectangle", "points": [[900, 900], [950, 950]]}]
    (folder / "a.json").write_text(json.dumps(content))
    (sample,) = read_folder(folder)
    with pytest.raises(DataError, match="lies outside the image"):
        sample.rounds[0].truth()
    assert "is cut" not in caplog.text


def indexed() -> NDArray[np.uint8]:
    pixels = np.zeros(SIZE, dtype=np.uint8)
    pixels[box_mask(RED_BOX)], pixels[box_mask(BLUE_BOX)], pixels[0, :5] = 1, 2, IGNORE
    return pixels


@pytest.mark.parametrize("labels", ["labels.json", "_classes.csv", "labelmap.txt"])
def test_masks_whose_values_or_colours_are_labels(tmp_path: Path, labels: str) -> None:
    pixels: NDArray[np.uint8] = indexed()
    image, mask = tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png"
    if labels == "labels.json":
        (tmp_path / labels).write_text('{"0": "background", "1": "mug", "2": "plate", "3": "unused"}')
    elif labels == "_classes.csv":
        image, mask = tmp_path / "a.jpg", tmp_path / "a_mask.png"
        (tmp_path / labels).write_text("Pixel Value, Class\n0, background\n1, mug\n2, plate\n")
    else:
        image, mask = tmp_path / "JPEGImages" / "a.jpg", tmp_path / "SegmentationClass" / "a.png"
        colours = np.array([[0, 0, 0], [200, 10, 10], [10, 10, 200]], dtype=np.uint8)
        pixels = colours[np.where(pixels == IGNORE, 0, pixels)]
        (tmp_path / labels).write_text(
            "\ufeffmug:200,10,10::\n# label:color_rgb:parts:actions\nbackground:0,0,0::\nplate:10,10,200::\n",
            encoding="utf-8",
        )
    write_image(image.with_suffix(".png")).rename(image)
    mask.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(mask), pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)
    (sample,) = read_folder(tmp_path)
    found = {one.text: one.truth() for one in sample.rounds}
    assert list(found) == ["mug", "plate"]
    assert np.array_equal(found["mug"] == 1, box_mask(RED_BOX))
    assert np.array_equal(found["plate"] == 1, box_mask(BLUE_BOX))
    assert (found["mug"] == IGNORE).sum() == (0 if labels == "labelmap.txt" else 5)


def test_mask_images_that_do_not_fit(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / "images" / f"{name}.png")
    (tmp_path / "masks").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), indexed())
    (tmp_path / "texts.json").write_text('{"a": "both squares"}')
    first, second, third = read_folder(tmp_path)
    assert first.rounds[0].text == "both squares" and (first.rounds[0].truth() == 1).sum() > 5
    assert "labels.json" in (second.problem or "") and "c.png has no mask" in (third.problem or "")
    (tmp_path / "labels.json").write_text('{"1": "mug"}')
    assert "has the values [2], which no label has" in (read_folder(tmp_path)[0].problem or "")


@pytest.mark.parametrize("label", ["", "  ", "_"])
@pytest.mark.parametrize("name", ["labelme", "coco", "masks"])
def test_a_blank_label_asks_for_nothing(tmp_path: Path, name: str, label: str) -> None:
    """A model cannot be given an empty command, and a converted folder with one could not be read again."""
    if name == "masks":
        write_image(tmp_path / "images" / "a.png")
        (tmp_path / "masks").mkdir()
        cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.minimum(indexed(), 1))
        (tmp_path / "labels.json").write_text(json.dumps({"1": label}))
    else:
        folder = write_labelme(tmp_path) if name == "labelme" else write_coco(tmp_path)
        file = folder / ("a.json" if name == "labelme" else "annotations/instances.json")
        file.write_text(file.read_text().replace('"box"', json.dumps(label)))
    (sample,) = read_folder(tmp_path)
    assert f"the label {label!r} names nothing; give it a name, or texts in texts.json" in (sample.problem or "")
    assert {"labelme": "a.json", "coco": "instances.json", "masks": "a.png"}[name] in (sample.problem or "")
    (tmp_path / "texts.json").write_text(json.dumps({label: "the thing with a blank label"}))
    (sample,) = read_folder(tmp_path)
    assert sample.problem is None and sample.rounds[0].text == "the thing with a blank label"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("categories", None, "it has null for 'categories'; a list of objects is expected"),
        ("categories", {"1": "mug"}, "it has {'1': 'mug'} for 'categories'; a list of objects is expected"),
        ("categories", [{"id": 1}], "it has the entry {'id': 1} in 'categories'; an object with an id and a name is"),
        ("categories", [None], "it has the entry None in 'categories'"),
        ("categories", [{"id": [], "name": "mug"}], "it has the entry {'id': [], 'name': 'mug'} in 'categories'"),
        ("images", None, "it has null for 'images'; a list of objects is expected"),
        ("images", "a.png", "it has 'a.png' for 'images'; a list of objects is expected"),
        ("annotations", 7, "it has 7 for 'annotations'; a list of objects is expected"),
        ("annotations", [[]], "it has the entry [] in 'annotations'; an object with a number as its id is expected"),
        ("annotations", [{"id": "x"}], "it has the entry {'id': 'x'} in 'annotations'; an object with a number"),
    ],
)
def test_parts_of_instances_that_are_none_are_named(tmp_path: Path, key: str, value: Any, said: str) -> None:
    file = write_coco(tmp_path) / "annotations" / "instances.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(DataError) as refused:
        read_folder(tmp_path)
    assert str(refused.value).startswith(f"{file} is not an instances.json: {said}")
    assert "Error" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("images", {"height": None}, "image 7 has file_name 'a.png', height None and width 64; a text and two whole"),
        ("images", {"width": [1]}, r"height 48 and width [1]; a text"),
        ("images", {"file_name": {}}, "image 7 has file_name {}, height"),
        ("annotations", {"image_id": None}, "annotation 1 has image_id None and category_id 1; the number of"),
        ("annotations", {"category_id": [2]}, "annotation 1 has image_id 7 and category_id [2]; the number of"),
    ],
)
def test_values_of_instances_are_refused_in_plain_words(
    tmp_path: Path, key: str, value: dict[str, Any], said: str
) -> None:
    file = write_coco(tmp_path) / "annotations" / "instances.json"
    content = json.loads(file.read_text())
    content[key][0] |= value
    file.write_text(json.dumps(content))
    instances = Instances(file)
    with pytest.raises(DataError) as refused:
        list(instances.labels())
        instances.image(7)
    assert said in str(refused.value) and "Error" not in str(refused.value)


def test_instances_without_images(tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    for content, said in (('{"annotations": []}', "it has no 'images'; a list"), ("[]", "an object with images and")):
        file.write_text(content)
        with pytest.raises(DataError, match=said):
            Instances(file)


def test_a_conversion_writes_what_can_be_read(tmp_path: Path) -> None:
    """Images of a kind that the written format does not have, and annotations of an image of another size."""
    folder = write_coco(tmp_path / "source")
    file = folder / "annotations" / "instances.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "a.bmp"
    cv2.imwrite(str(folder / "images" / "a.bmp"), cv2.imread(str(folder / "images" / "a.png")))
    file.write_text(json.dumps(content))
    assert convert_data(folder, tmp_path / "converted") == (1, [])
    check(read_folder(tmp_path / "converted"))
    cv2.imwrite(str(folder / "images" / "a.bmp"), np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8))
    written, (problem,) = convert_data(folder, tmp_path / "again")
    wanted = f"a.bmp: its mask has {WIDTH} x {HEIGHT} pixels, the image {2 * WIDTH} x {2 * HEIGHT}"
    assert (written, problem) == (0, wanted) and not any((tmp_path / "again").iterdir())


def test_a_conversion_leaves_other_folders_alone(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    with pytest.raises(OutputError, match="not empty"):
        convert_data(folder, tmp_path / "full")
    convert_data(folder, tmp_path / "converted")
    with pytest.raises(DataError, match="already has ReasonSeg's format"):
        convert_data(tmp_path / "converted", tmp_path / "again")


def test_a_folder_of_none_of_the_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        read_folder(tmp_path / "nowhere")
