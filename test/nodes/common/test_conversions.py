# SPDX-License-Identifier: Apache-2.0
"""Every encoding is decoded correctly, with and without cv_bridge, and invalid messages are refused with the reason."""

import array
import importlib.util
from collections.abc import Iterator

import camera_images
import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lisa_ros.images.decoding import depth_from
from lisa_ros.nodes.common import conversions
from lisa_ros.nodes.common.conversions import SUPPORTED_ENCODINGS, ImageError, rgb_image_from, to_image_message


@pytest.fixture(params=["cv_bridge as installed", "no cv_bridge"])
def bridge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "no cv_bridge":
        monkeypatch.setattr(conversions, "_bridge", lambda: None)
    yield request.param


def assert_correct(image: np.ndarray, encoding: str) -> None:
    assert image.shape == (camera_images.HEIGHT, camera_images.WIDTH, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous and image.flags.owndata and image.flags.writeable
    exact = encoding in camera_images.COLOURED + camera_images.MONO
    difference = np.abs(image.astype(int) - camera_images.expected(encoding).astype(int))
    if exact:
        assert difference.max() == 0
    else:
        assert difference[camera_images.inside_blocks()].max() <= (0 if encoding in camera_images.BAYER else 3)


def test_every_supported_encoding_is_tested() -> None:
    assert set(camera_images.ENCODINGS) == set(SUPPORTED_ENCODINGS)


@pytest.mark.parametrize("padding", [0, 2, 13, 64])
@pytest.mark.parametrize("encoding", camera_images.ENCODINGS)
def test_encoding(bridge: str, encoding: str, padding: int) -> None:
    assert_correct(rgb_image_from(camera_images.message(encoding, padding)), encoding)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", camera_images.ENCODINGS)
def test_byte_order_matters_only_for_16_bit(bridge: str, encoding: str, padding: int) -> None:
    assert_correct(rgb_image_from(camera_images.message(encoding, padding, big_endian=True)), encoding)


@pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is None, reason="no cv_bridge here; it is optional")
def test_cv_bridge_is_used_where_it_is_correct() -> None:
    assert conversions._bridge() is not None


def test_padding_after_the_last_row_may_be_missing() -> None:
    message = camera_images.message("rgb8", 8)
    message.data = message.data[:-8]
    assert_correct(rgb_image_from(message), "rgb8")


@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "nv12", "nv24"])
def test_step_0_is_rows_without_padding(encoding: str) -> None:
    message = camera_images.message(encoding)
    message.step = 0
    assert_correct(rgb_image_from(message), encoding)


def test_mono16_is_scaled_and_rounded() -> None:
    samples = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype="<u2")
    message = Image(height=1, width=8, encoding="mono16", step=16, data=array.array("B", samples.tobytes()))
    assert rgb_image_from(message)[0, :, 0].tolist() == [round(s * 255 / 65535) for s in samples[0].tolist()]


def test_the_image_is_a_copy() -> None:
    message = camera_images.message("rgb8")
    image = rgb_image_from(message)
    message.data[0] = 99
    assert image[0, 0, 0] == camera_images.RED[0]


@pytest.mark.parametrize(
    ("change", "reason"),
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
        ({"height": 33}, "truncated"),
        ({"width": 49}, "step 144.*147 bytes"),
        ({"step": 0, "width": 47}, "step 0 and 4608 bytes.*need 4512"),
        ({"step": 0, "height": 33}, "step 0 and 4608 bytes.*need 4752"),
        ({"step": 100}, "step 100"),
        ({"step": 2**32 - 1}, "truncated"),
        ({"data": array.array("B")}, "truncated.*has 0"),
        ({"data": array.array("B", bytes(100))}, "truncated.*has 100"),
        ({"encoding": "yuv422", "width": 47}, "width must be even"),
        ({"encoding": "nv12", "height": 31}, "height must be even"),
    ],
)
def test_an_invalid_message_is_refused_with_the_reason(change: dict[str, object], reason: str) -> None:
    message = camera_images.message("rgb8")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=reason):
        rgb_image_from(message)


def test_a_long_encoding_is_cut_in_the_reason() -> None:
    """The reason is a sentence of /diagnostics."""
    message = camera_images.message("rgb8")
    message.encoding = 100_000 * "x"
    for decode in (rgb_image_from, depth_from):
        with pytest.raises(ImageError, match=f"encoding '{64 * 'x'}'; .*is needed|supported are") as refused:
            decode(message)
        assert len(str(refused.value)) < 1000


def colours_bgr() -> np.ndarray:
    return np.ascontiguousarray(camera_images.colours()[:, :, ::-1])


@pytest.mark.parametrize("format_text", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", ""])
def test_jpeg(format_text: str) -> None:
    image = rgb_image_from(camera_images.compressed(".jpg", format_text, colours_bgr()))
    difference = np.abs(image.astype(int) - camera_images.colours().astype(int))
    assert difference[camera_images.inside_blocks()].max() <= 12


def test_jpeg_that_was_encoded_from_rgb() -> None:
    image = rgb_image_from(camera_images.compressed(".jpg", "rgb8; jpeg compressed rgb8", camera_images.colours()))
    difference = np.abs(image.astype(int) - camera_images.colours().astype(int))
    assert difference[camera_images.inside_blocks()].max() <= 12


def test_png() -> None:
    image = rgb_image_from(camera_images.compressed(".png", "rgb8; png compressed bgr8", colours_bgr()))
    assert np.array_equal(image, camera_images.colours())
    assert image.flags.c_contiguous


def test_png_of_16_bits_and_with_alpha() -> None:
    deep = colours_bgr().astype(np.uint16) * 257
    assert np.array_equal(rgb_image_from(camera_images.compressed(".png", "png", deep)), camera_images.colours())
    alpha = cv2.cvtColor(colours_bgr(), cv2.COLOR_BGR2BGRA)
    assert np.array_equal(rgb_image_from(camera_images.compressed(".png", "png", alpha)), camera_images.colours())


@pytest.mark.parametrize("format_text", ["png", "", "16UC1", "rgb8; png compressed bgr8"])
def test_compressed_16_bit_grey_values_that_may_be_depth_are_refused(format_text: str) -> None:
    depth = camera_images.greys().astype(np.uint16) * 10
    with pytest.raises(ImageError, match="that is a depth image"):
        rgb_image_from(camera_images.compressed(".png", format_text, depth))


def test_grey_png_and_compressed_mosaic() -> None:
    grey = rgb_image_from(camera_images.compressed(".png", "mono8; png compressed mono8", camera_images.greys()))
    assert np.array_equal(grey, camera_images.expected("mono8"))
    planar = rgb_image_from(camera_images.compressed(".png", "nv24; png compressed mono8", camera_images.greys()))
    assert np.array_equal(planar, camera_images.expected("mono8"))
    deep = rgb_image_from(
        camera_images.compressed(".png", "mono16; png compressed mono16", camera_images.greys().astype(np.uint16) * 257)
    )
    assert np.array_equal(deep, camera_images.expected("mono8"))
    mosaic = np.asarray(camera_images.message("bayer_rggb8").data, dtype=np.uint8).reshape(
        camera_images.HEIGHT, camera_images.WIDTH
    )
    assert_correct(
        rgb_image_from(camera_images.compressed(".png", "bayer_rggb8; png compressed ", mosaic)), "bayer_rggb8"
    )


@pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"\xff\xd8\xff\xe0 not a jpeg"])
def test_invalid_data_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="compressed image"):
        rgb_image_from(CompressedImage(format="jpeg", data=array.array("B", data)))


def test_a_truncated_png_is_refused() -> None:
    message = camera_images.compressed(".png", "png", colours_bgr())
    message.data = message.data[:20]
    with pytest.raises(ImageError, match="damaged PNG"):
        rgb_image_from(message)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8"])
def test_round_trip(encoding: str) -> None:
    pixels = camera_images.colours() if encoding == "rgb8" else camera_images.greys()
    header = Header(frame_id="camera")
    message = to_image_message(pixels, encoding, header)
    assert (message.height, message.width, message.encoding) == (camera_images.HEIGHT, camera_images.WIDTH, encoding)
    assert message.step == camera_images.WIDTH * (3 if encoding == "rgb8" else 1)
    assert message.header == header
    assert np.array_equal(rgb_image_from(message), camera_images.expected(encoding))


def test_an_array_that_is_not_contiguous() -> None:
    message = to_image_message(camera_images.colours()[:, ::2], "rgb8", Header())
    assert message.width == camera_images.WIDTH // 2
    assert np.array_equal(rgb_image_from(message), camera_images.colours()[:, ::2])
