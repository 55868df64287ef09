# SPDX-License-Identifier: Apache-2.0
"""Pictures come out right in every encoding, with and without cv_bridge, and bad messages are refused clearly."""

import array
import importlib.util
from collections.abc import Iterator

import cv2
import numpy as np
import pictures
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lisa_ros.nodes.common import conversions
from lisa_ros.nodes.common.conversions import SUPPORTED_ENCODINGS, ImageError, rgb_image_from, to_image_message


@pytest.fixture(params=["cv_bridge as installed", "no cv_bridge"])
def bridge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "no cv_bridge":
        monkeypatch.setattr(conversions, "_bridge", lambda: None)
    yield request.param


def assert_right(picture: np.ndarray, encoding: str) -> None:
    assert picture.shape == (pictures.HEIGHT, pictures.WIDTH, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous and picture.flags.owndata and picture.flags.writeable
    exact = encoding in pictures.COLOURED + pictures.MONO
    difference = np.abs(picture.astype(int) - pictures.expected(encoding).astype(int))
    if exact:
        assert difference.max() == 0
    else:
        assert difference[pictures.inside_blocks()].max() <= (0 if encoding in pictures.BAYER else 3)


def test_every_supported_encoding_is_tested() -> None:
    assert set(pictures.ENCODINGS) == set(SUPPORTED_ENCODINGS)


@pytest.mark.parametrize("padding", [0, 2, 13, 64])
@pytest.mark.parametrize("encoding", pictures.ENCODINGS)
def test_encoding(bridge: str, encoding: str, padding: int) -> None:
    assert_right(rgb_image_from(pictures.message(encoding, padding)), encoding)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", pictures.ENCODINGS)
def test_byte_order_matters_for_16_bit_alone(bridge: str, encoding: str, padding: int) -> None:
    assert_right(rgb_image_from(pictures.message(encoding, padding, big_endian=True)), encoding)


@pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is None, reason="no cv_bridge here; it is optional")
def test_cv_bridge_is_used_where_it_is_right() -> None:
    assert conversions._bridge() is not None


def test_padding_behind_the_last_row_may_be_missing() -> None:
    message = pictures.message("rgb8", 8)
    message.data = message.data[:-8]
    assert_right(rgb_image_from(message), "rgb8")


def test_mono16_is_scaled_and_rounded() -> None:
    samples = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype="<u2")
    message = Image(height=1, width=8, encoding="mono16", step=16, data=array.array("B", samples.tobytes()))
    assert rgb_image_from(message)[0, :, 0].tolist() == [round(s * 255 / 65535) for s in samples[0].tolist()]


def test_the_picture_is_not_the_message() -> None:
    message = pictures.message("rgb8")
    picture = rgb_image_from(message)
    message.data[0] = 99
    assert picture[0, 0, 0] == pictures.RED[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "rgb9"}, r"'rgb9'.*supported are rgb8, bgr8"),
        ({"encoding": ""}, "encoding ''.*supported"),
        ({"encoding": "8UC3"}, "publish rgb8 or bgr8"),
        ({"encoding": "16UC1"}, "depth"),
        ({"encoding": "32FC1"}, "depth"),
        ({"width": 0}, "0 x 32 pixels"),
        ({"height": 0}, "48 x 0 pixels"),
        ({"width": 2**31}, "each side must be"),
        ({"height": 2**32 - 1}, "each side must be"),
        ({"height": 33}, "cut short"),
        ({"width": 49}, "step 144.*147 bytes"),
        ({"step": 0}, "step 0"),
        ({"step": 100}, "step 100"),
        ({"step": 2**32 - 1}, "cut short"),
        ({"data": array.array("B")}, "cut short.*has 0"),
        ({"data": array.array("B", bytes(100))}, "cut short.*has 100"),
        ({"encoding": "yuv422", "width": 47}, "even width"),
        ({"encoding": "nv12", "height": 31}, "even height"),
    ],
)
def test_bad_message_is_refused_with_a_reason(change: dict[str, object], says: str) -> None:
    message = pictures.message("rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=says):
        rgb_image_from(message)


def colours_bgr() -> np.ndarray:
    return np.ascontiguousarray(pictures.colours()[:, :, ::-1])


@pytest.mark.parametrize("format_text", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", ""])
def test_jpeg(format_text: str) -> None:
    picture = rgb_image_from(pictures.compressed(".jpg", format_text, colours_bgr()))
    difference = np.abs(picture.astype(int) - pictures.colours().astype(int))
    assert difference[pictures.inside_blocks()].max() <= 12


def test_jpeg_that_was_encoded_from_rgb() -> None:
    picture = rgb_image_from(pictures.compressed(".jpg", "rgb8; jpeg compressed rgb8", pictures.colours()))
    difference = np.abs(picture.astype(int) - pictures.colours().astype(int))
    assert difference[pictures.inside_blocks()].max() <= 12


def test_png() -> None:
    picture = rgb_image_from(pictures.compressed(".png", "rgb8; png compressed bgr8", colours_bgr()))
    assert np.array_equal(picture, pictures.colours())
    assert picture.flags.c_contiguous


def test_png_of_16_bits_and_with_alpha() -> None:
    deep = colours_bgr().astype(np.uint16) * 257
    assert np.array_equal(rgb_image_from(pictures.compressed(".png", "png", deep)), pictures.colours())
    alpha = cv2.cvtColor(colours_bgr(), cv2.COLOR_BGR2BGRA)
    assert np.array_equal(rgb_image_from(pictures.compressed(".png", "png", alpha)), pictures.colours())


def test_grey_png_and_compressed_mosaic() -> None:
    grey = rgb_image_from(pictures.compressed(".png", "mono8; png compressed mono8", pictures.greys()))
    assert np.array_equal(grey, pictures.expected("mono8"))
    deep = rgb_image_from(
        pictures.compressed(".png", "mono16; png compressed mono16", pictures.greys().astype(np.uint16) * 257)
    )
    assert np.array_equal(deep, pictures.expected("mono8"))
    mosaic = np.asarray(pictures.message("bayer_rggb8").data, dtype=np.uint8).reshape(pictures.HEIGHT, pictures.WIDTH)
    assert_right(rgb_image_from(pictures.compressed(".png", "bayer_rggb8; png compressed ", mosaic)), "bayer_rggb8")


@pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"\xff\xd8\xff\xe0 not a jpeg"])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="compressed image"):
        rgb_image_from(CompressedImage(format="jpeg", data=array.array("B", data)))


def test_cut_png_is_refused() -> None:
    message = pictures.compressed(".png", "png", colours_bgr())
    message.data = message.data[:20]
    with pytest.raises(ImageError, match="cannot be decoded"):
        rgb_image_from(message)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8"])
def test_there_and_back(encoding: str) -> None:
    pixels = pictures.colours() if encoding == "rgb8" else pictures.greys()
    header = Header(frame_id="camera")
    message = to_image_message(pixels, encoding, header)
    assert (message.height, message.width, message.encoding) == (pictures.HEIGHT, pictures.WIDTH, encoding)
    assert message.step == pictures.WIDTH * (3 if encoding == "rgb8" else 1)
    assert message.header == header
    assert np.array_equal(rgb_image_from(message), pictures.expected(encoding))


def test_an_array_that_is_not_contiguous_becomes_tight_rows() -> None:
    message = to_image_message(pictures.colours()[:, ::2], "rgb8", Header())
    assert message.width == pictures.WIDTH // 2
    assert np.array_equal(rgb_image_from(message), pictures.colours()[:, ::2])
