# SPDX-License-Identifier: Apache-2.0
"""LabelMe's shapes: painted as LabelMe means them, or refused by shape and number."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tiny_datasets import HEIGHT, RED_BOX, WIDTH, box_mask, reason, write_reason_seg

from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.datasets.samples import IGNORE, DataError
from lisa_ros.datasets.shapes import cut_shapes, paint, parse_shapes

SIZE = (HEIGHT, WIDTH)


def entry(kind: str, points: Any, label: str = "target", **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, **more}


def corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    x, y, u, v = box
    return [[x, y], [u, y], [u, v], [x, v]]


def png(mask: NDArray[np.bool_]) -> str:
    return base64.b64encode(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()).decode()


def painted(*entries: dict[str, Any]) -> NDArray[np.uint8]:
    return paint(parse_shapes(list(entries)), SIZE)


def test_a_rectangle_has_two_corners_in_any_order() -> None:
    x, y, u, v = RED_BOX
    for points in ([[x, y], [u, v]], [[u, v], [x, y]], [[u + 0.7, y + 0.3], [x + 0.2, v + 0.9]]):
        assert np.array_equal(painted(entry("rectangle", points)) == 1, box_mask(RED_BOX))


def test_a_circle_has_a_centre_and_a_point_on_its_edge() -> None:
    canvas = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(canvas).ellipse([30 - 10, 20 - 10, 30 + 10, 20 + 10], fill=1, outline=1)
    found = painted(entry("circle", [[30, 20], [36, 28]]))
    assert np.array_equal(found == 1, np.asarray(canvas) == 1)
    assert abs(int((found == 1).sum()) - np.pi * 100) < 40


def test_a_mask_is_a_png_in_its_bounding_box() -> None:
    hole = np.ones((10, 12), dtype=np.bool_)
    hole[3:6, 4:8] = False
    found = painted(entry("mask", [[5, 7], [16, 16]], mask=png(hole)))
    expected = np.zeros(SIZE, dtype=np.bool_)
    expected[7:17, 5:17] = hole
    assert np.array_equal(found == 1, expected)


def test_a_polygon_is_the_default_and_its_fractions_are_cut() -> None:
    x, y, u, v = RED_BOX
    points = [[x + 0.4, y + 0.9], [u, y], [u, v], [x, v]]
    assert np.array_equal(painted({"label": "target", "points": points}) == 1, box_mask(RED_BOX))


def test_small_shapes_overwrite_large_ones_and_holes_are_background() -> None:
    small = (12, 12, 15, 15)
    whole = entry("rectangle", [[0, 0], [WIDTH - 1, HEIGHT - 1]], "IGNORE-this")
    shapes = [entry("polygon", corners(small), "Target"), whole, entry("polygon", corners(RED_BOX), "Target")]
    found = painted(*shapes)
    assert np.array_equal(found == 1, box_mask(RED_BOX))
    assert np.array_equal(found == IGNORE, ~box_mask(RED_BOX))
    hole = painted(entry("polygon", corners(small), "_background_"), entry("polygon", corners(RED_BOX)))
    assert np.array_equal(hole == 1, box_mask(RED_BOX) & ~box_mask(small)) and not (hole == IGNORE).any()


def test_flags_paint_nothing() -> None:
    assert not painted(entry("polygon", corners(RED_BOX), "FLAG")).any()
    assert not painted(entry("point", [[1, 1]], "flag")).any()
    assert not painted().any()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (entry("line", [[1, 1], [9, 9]]), r"shape 2 \('target', line\) encloses no pixels"),
        (entry("linestrip", [[1, 1], [9, 9], [1, 9]]), "linestrip.*encloses no pixels"),
        (entry("point", [[1, 1]]), r"shape 2 \('target', point\) encloses no pixels"),
        (entry("points", [[1, 1], [2, 2]]), "points.*encloses no pixels"),
        (entry("spline", [[1, 1], [2, 2]]), "spline.*polygon, rectangle, circle, mask"),
        (entry("polygon", [[1, 1], [9, 9]]), "shape 2.*has 2 points; a polygon has 3 or more"),
        (entry("polygon", []), "shape 2.*the points"),
        (entry("rectangle", corners(RED_BOX)), "has 4 points; a rectangle has 2"),
        (entry("circle", [[5, 5]]), "has 1 points; a circle has 2"),
        (entry("mask", [[0, 0], [3, 3]]), "no 'mask' that is a PNG"),
        (entry("mask", [[0, 0], [3, 3]], mask="////"), "no 'mask' that is a PNG"),
        (
            entry("mask", [[0, 0], [3, 3]], mask=png(np.ones((4, 5), np.bool_))),
            "5 x 4 pixels, but its points span 4 x 4",
        ),
        (entry("mask", [[0, 0], [3, 3]], mask=png(np.zeros((4, 4), np.bool_))), "without a pixel"),
        ({"label": "target"}, "shape 2 is .*a label and points"),
        *((entry("polygon", bad), "shape 2.*has the points") for bad in ([[1]], "points", [[1, None]])),
        *(
            (entry("polygon", bad), "shape 2.*has the points")
            for bad in ([[1, float("nan")]], [[1e300, 2]], [[[1, 2]]])
        ),
    ],
)
def test_shapes_without_pixels_are_refused_by_number(bad: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        parse_shapes([entry("polygon", corners(RED_BOX)), bad])


def test_a_shape_outside_the_image_is_refused() -> None:
    """As of an image of another size: the model must not learn that the object is absent."""
    shapes = parse_shapes([entry("polygon", [[900, 900], [990, 900], [990, 990]], "mug")])
    with pytest.raises(DataError, match=r"shape 1 \('mug', polygon\) lies outside the image of 64 x 48.*x 900 to 990"):
        paint(shapes, SIZE)


def test_a_shape_partly_outside_is_cut_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = entry("polygon", [[-20, -20], [5, -20], [5, 5], [-20, 5]])
    assert np.array_equal(painted(outside) == 1, box_mask((0, 0, 5, 5)))
    at_the_edge = entry("polygon", [[0, 0], [WIDTH, 0], [WIDTH, 5]])
    assert [shape.number for shape in cut_shapes(parse_shapes([at_the_edge, outside]), SIZE)] == [2]
    folder = write_reason_seg(tmp_path, {"a": reason("what?", shapes=[at_the_edge, outside])})
    (sample,) = read_reason_seg(folder)
    with caplog.at_level(logging.WARNING, logger="lisa_ros"):
        sample.rounds[0].truth()
        sample.rounds[0].truth()
    (record,) = caplog.records
    assert "a.json: shape 2 reaches outside the image and is cut" in record.getMessage()


def test_the_file_is_named(tmp_path: Path) -> None:
    far = entry("rectangle", [[900, 900], [990, 990]])
    line = entry("line", [[1, 1], [9, 9]])
    folder = write_reason_seg(tmp_path, {"a": reason("what?", shapes=[far]), "b": reason("what?", shapes=[line])})
    first, second = read_reason_seg(folder)
    with pytest.raises(DataError, match=r"a\.json: shape 1 .*outside"):
        first.rounds[0].truth()
    assert "b.json: shape 1 ('target', line)" in (second.problem or "")
